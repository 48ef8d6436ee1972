"""What takes OpenMP."""

from typing import Any

team: Any  # a capsule: src/threads.h
__test__: dict[str, str]  # Cython's
