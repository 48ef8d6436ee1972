"""Types that signatures share."""

from __future__ import annotations

from typing import Any, Literal, SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

Axis: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None
Out: TypeAlias = npt.NDArray[Any] | None
Reduction: TypeAlias = Literal["none", "sum", "mean"]
Value: TypeAlias = npt.NDArray[Any] | np.floating[Any] | float  # of rows; of one; reduced
