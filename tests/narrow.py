"""Arrays of 8 and 16 bits as they are stored, what belongs beside them, and the bounds of their results."""

import ml_dtypes
import numpy as np
import pytest
from mpmath import mpf

import digits
import rounding
from rounding import eps
from test_layouts import LAYOUTS

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
SHORT = [np.dtype(np.float16), BFLOAT16]
KINDS = [*map(np.dtype, ("u1", "i1", "u2", "i2", "?")), *SHORT]
FACTORS = (1 / 255, -0.3, 3e4)
STORED = pytest.mark.parametrize("kind", KINDS, ids=str)
MEMBERS = ("x", "mean", "scale")
NATIVE = {
    name: make for name, make in LAYOUTS.items() if "swapped" not in name
}  # bfloat16 has one byte order


def stored(kind, shape, seed=0):
    """Numbers of a dtype, all over 8 bits."""
    draw = np.random.default_rng(seed).integers(-128 if kind.kind == "i" else 0, 128, shape)
    return (draw % 2 == 1) if kind.kind == "b" else draw.astype(kind)


def layouts(kind):
    return NATIVE if kind == BFLOAT16 else LAYOUTS


def near(x, factor, dtype, seed=0):
    """Means, and scales of the size of what is left."""
    generator = np.random.default_rng(seed)
    mean = (x.astype(float) * float(dtype(factor)) * generator.normal(1, 0.1, x.shape)).astype(dtype)
    return mean, (generator.uniform(0.25, 4, x.shape) * float(dtype(factor)) ** 2).astype(dtype)


def check(got, exact, dtype, factor=1.0, what=""):
    """The policy's bounds, with ∂x by x as it was passed."""
    for member, bound in zip(got._fields, (10, 6, 6, 6), strict=False):
        value, size = exact[member]
        of_x = mpf(float(dtype(factor))) if member == "x" else mpf(1)
        bound = bound * eps(dtype) * abs(of_x) * size
        assert rounding.check(getattr(got, member), of_x * value, bound, dtype, f"{what}: {member}")


def scaled(x, factor, dtype):
    """x·x_scale, exactly."""
    return digits.exact(x.astype(np.float64)) * mpf(float(dtype(factor)))
