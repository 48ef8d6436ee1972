"""A scale or number that all elements share, or those of a row, has loops of its own: they change no bit."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastelbo as fe
from marks import DTYPES

ROWS, COLUMNS = 3, 523  # more than a row is worth a call for, and a remainder
#: loss: (forms of its scale, its number)
LOSSES = {
    "laplace_nll": (("scale", "logscale"), None),
    "student_t_nll": (("scale", "logscale"), "df"),
    "gaussian_nll": (("logvar", "precision"), None),
}
PARTS = {"number": (1, 1), "rows": (ROWS, 1), "columns": (1, COLUMNS)}


def operands(dtype):
    generator = np.random.default_rng(5)
    return [generator.normal(size=(ROWS, COLUMNS)).astype(dtype) for _ in range(2)]


def both(loss, dtype, scale, raw, number, options):
    """The result with the arguments as they are, and with one for each element."""
    x, mean = operands(dtype)
    for arguments in (
        (raw, number),
        [None if a is None else np.array(np.broadcast_to(a, x.shape)) for a in (raw, number)],
    ):
        numbers = {} if arguments[1] is None else {LOSSES[loss][1]: arguments[1]}
        # weights ask for the terms of a Gaussian, too
        yield getattr(fe, f"{loss}_grad")(
            x, mean, **{scale: arguments[0]}, **numbers, weight=np.ones_like(x), wrt=("x", "mean"), **options
        )


@DTYPES
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("other", [0.7, 1e-30], ids=["ordinary", "far"])
@pytest.mark.parametrize(
    ("loss", "scale"), [(name, form) for name, (forms, _) in LOSSES.items() for form in forms]
)
def test_the_same_bits(loss, scale, part, other, dtype):
    raw = np.random.default_rng(1).uniform(0.5, 2, PARTS[part]).astype(dtype)
    raw.flat[-1] = other
    number = dtype(3.7) if LOSSES[loss][1] else None
    axes = ((), -1) if not loss.startswith("gaussian") else ((),)  # its sums have a way of their own
    for axis in axes:
        for one, every in zip(*both(loss, dtype, scale, raw, number, {"axis": axis}), strict=True):
            assert_array_equal(one, every)


@DTYPES
@pytest.mark.parametrize("shared", [0.7, 1e-30], ids=["ordinary", "far"])
@pytest.mark.parametrize(
    ("loss", "scale"), [(name, form) for name, (forms, _) in LOSSES.items() for form in forms]
)
def test_the_same_bits_under_where(loss, scale, shared, dtype):
    """What `where` removes may keep a scale and number that are ordinary."""
    number = dtype(3.7) if LOSSES[loss][1] else None
    where = np.random.default_rng(2).random((ROWS, COLUMNS)) < 0.5
    where[0] = False
    for one, every in zip(
        *both(loss, dtype, scale, dtype(shared), number, {"axis": (), "where": where}), strict=True
    ):
        assert_array_equal(one, every)


@DTYPES
@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e-30])
@pytest.mark.parametrize("df", [3.0, np.inf, 1e-40])
def test_nothing_reaches_what_where_removes(scale, df, dtype):
    """Not even a scale that is none."""
    x, mean = operands(dtype)
    got = fe.student_t_nll_grad(x, mean, df=dtype(df) or 1, scale=dtype(scale), where=np.zeros(x.shape, bool))
    for each in got:
        assert each is None or not np.any(each)
