"""How much the tests try: CI's share, or the figures of docs/trust.md with HYPOTHESIS_PROFILE=large."""

import os
from typing import TypeVar

T = TypeVar("T")
LARGE = os.environ.get("HYPOTHESIS_PROFILE") == "large"


def effort(ci: T, large: T) -> T:
    """A count, or a list of cases."""
    return large if LARGE else ci
