"""What a call takes of memory that Python's allocators see, the core's scratch among it."""

import tracemalloc
from collections.abc import Callable
from typing import Any

OF_THREAD = 64 << 10  # what a thread works in
MOST = (4 << 20) + OF_THREAD  # what sums take, and that


def scratch(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """Bytes that a call holds at its most, beside what it returns."""
    tracemalloc.start()
    try:
        result = function(*args, **kwargs)
        current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del result
    return peak - current
