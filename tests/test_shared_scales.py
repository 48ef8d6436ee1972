"""Special and extreme scales in every shape that a scale may have: each has its own way through the kernels.

A row is D − 1 times one value and once 0.7, or the one value all along, and all rows are alike: so the exact
results are those of one element or two, times how often they count.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pytest

import declared
import fastelbo as fe
import oracles
import promises
import rounding
import variance
from digits import Exact
from effort import effort
from fastelbo._declare import Loss
from marks import DTYPES
from test_special import classes, special

PLAIN = 0.7
#: Rows and columns: few, so that rows are short, and more than a vector has
SIZES = effort([(1, 2), (2, 33), (3, 2)], [(n, d) for n in (1, 2, 3) for d in (2, 8, 33, 70)])
WEIGHTS = (None, "rows", "elements")  # all 1
REMOVED = (None, "plain", "special")


class Case(NamedTuple):
    """A declared loss, and which of its scales is the special one; the others are 1."""

    name: str
    which: int

    def __str__(self) -> str:
        return f"{self.name}, {self.scale}"

    @property
    def loss(self) -> Loss:
        return declared.LOSSES[self.name]

    @property
    def first(self) -> str:
        """A gradient that has a value for each element."""
        return self.loss.operands[0]

    @property
    def scale(self) -> str:
        """The gradient of the special scale."""
        return self.loss.operands[2 + self.which]

    @property
    def forms(self) -> declared.Names:
        return declared.forms(self.loss.scales[self.which])

    @property
    def members(self) -> declared.Names:
        return declared.members(self.loss, {*self.loss.operands[:2], *self.scales(self.forms[0], 1.0)})

    @property
    def bounds(self) -> tuple[int, int]:
        """Of the value and a gradient, in eps; a divergence's value is to a few ULP."""
        element = promises.ELEMENT.get(self.name, promises.USUAL)
        return 8 if promises.is_divergence(self.name) else element + promises.LANES, element

    def scales(self, key: str, raw) -> dict:
        """This scale, with the ordinary ones before it in the same form; and what else the loss needs."""
        form = declared.form_of(key)
        units = {scale.prefix + form: float(variance.raw_of(form, 0.0)) for scale in self.loss.scales}
        units = dict(list(units.items())[: self.which])
        return units | {key: raw} | declared.plain(self.loss)

    def exact(self, dtype, x, **scales) -> dict[str, Exact]:
        one, two = self.loss.operands[:2]
        return declared.exact(self.name, {one: x, two: dtype(0)} | scales, ("value", self.first, self.scale))

    def __call__(self, x, zeros, scales: dict, in_place: bool = False, **options):
        """The call; in place, the gradients of x and mean take their places."""
        one, two = self.loss.operands[:2]
        out = None
        if in_place:
            x, zeros = x.copy(), zeros.copy()
            out = tuple([{one: x, two: zeros}.get(field) for field in self.loss.fields])
        grad = getattr(fe, f"{self.name}_grad")
        return grad(**{one: x, two: zeros}, wrt=self.members[1:], out=out, **scales, **options)


CASES = [Case(name, i) for name, loss in declared.LOSSES.items() for i in range(len(loss.scales))]
#: Each with every form of the special scale
OF_FORMS = pytest.mark.parametrize(
    ("case", "form"), [(case, form) for case in CASES for form in case.forms], ids=str
)
#: How a scale of N rows and D columns is passed
SHAPES = {
    "number": lambda n, d: (),
    "one": lambda n, d: (1, 1),
    "rows": lambda n, d: (n, 1),
    "columns": lambda n, d: (d,),
    "elements": lambda n, d: (n, d),
}
CONSTANT = ("number", "one", "rows")  # along the event


class Truth:
    """Exact numbers as floats, for those that the tests compare with many times."""

    def __init__(self, exact: np.ndarray, size: np.ndarray, terms: int, dtype) -> None:
        self.terms = terms  # each may be off by the smallest subnormal
        self.kind = np.frompyfunc(lambda y, size: rounding.kind(y, size, dtype), 2, 1)(exact, size).astype(
            str
        )
        with np.errstate(all="ignore"):
            self.high = exact.astype(float)
            self.low = np.where(np.isfinite(self.high), exact - self.high, 0).astype(float)
            self.size = size.astype(float)

    def fits(self, got: np.ndarray, bound: float, dtype) -> np.ndarray:
        """Whether numbers of this class lie within the bound."""
        limits = np.finfo(dtype)
        with np.errstate(all="ignore"):
            allowed = bound * rounding.eps(dtype) * self.size
            representable = (self.kind == "finite") & (abs(self.high) <= float(limits.max) - allowed)
            least = self.terms * float(limits.smallest_subnormal)
            allowed += np.where(abs(self.high) < self.terms * float(limits.tiny), least, 0)
            error = abs((got.astype(float) - self.high) - self.low)
            return (self.kind == "any") | (
                (self.kind == classes(got)) & (~representable | (error <= allowed))
            )


def sums(exact: Exact, special_times: int, plain_times: int, plain: int | None, dtype) -> Truth:
    """Of what a special element has, and the plain one in that row of the arrays."""
    parts = []
    for part in exact:
        total = special_times * part if special_times else np.zeros_like(part)
        parts.append(total + plain_times * part[plain] if plain_times else total)
    parts = [np.broadcast_to(np.asarray(part, object), exact.value.shape) for part in parts]
    return Truth(*parts, max(1, special_times + plain_times), dtype)


class Cases:
    """All pairs of values for x and a scale: what is exact, and what comes out of calls."""

    def __init__(self, loss: Case, name: str, dtype, x: np.ndarray, raw: np.ndarray) -> None:
        self.loss, self.name, self.dtype, self.x, self.raw = loss, name, dtype, x, raw
        self.plain = next(iter(np.flatnonzero(x == dtype(PLAIN))), None)  # None: no element is 0.7
        self.exact = loss.exact(dtype, x[:, np.newaxis], **loss.scales(name, raw))
        self.known: dict[tuple, Truth] = {}

    def truth(self, member: str, special_times: int, plain_times: int, limit: bool = False) -> Truth:
        key = member, special_times, plain_times, limit
        if key not in self.known:
            exact = self.exact[member]
            found = sums(exact, special_times, plain_times, self.plain, self.dtype)
            if limit:  # of Σ r², log σ² = −inf for all of a row: what is not 0 outgrows the logarithms
                found.kind = np.where(self.outgrown(special_times, plain_times), "inf", found.kind)
            self.known[key] = found
        return self.known[key]

    def outgrown(self, special_times: int, plain_times: int) -> np.ndarray:
        if self.plain is None:
            return np.zeros((len(self.x), len(self.raw)), bool)
        nothing = self.exact["value"].value == -np.inf
        rest = self.exact["value"].value == np.inf
        some = (special_times > 0) & rest | ((plain_times > 0) & rest[self.plain])
        return some & ((special_times > 0) & nothing | ((plain_times > 0) & nothing[self.plain]))

    def call(self, i: int, j: int, shape: str, n: int, d: int, weight, removed, in_place: bool):
        x = np.full((n, d), self.x[i])
        if self.plain is not None:
            x[:, -1] = self.dtype(PLAIN)
        raw = np.full(SHAPES[shape](n, d), self.raw[j])
        options = {}
        if weight:
            options["weight"] = np.ones((n, d) if weight == "elements" else n, self.dtype)
        if removed:
            options["where"] = np.broadcast_to((np.arange(d) == d - 1) == (removed == "special"), (n, d))
        return self.loss(x, np.zeros_like(x), self.loss.scales(self.name, raw), in_place, **options)

    def check(self, shape: str, n: int, d: int, weight, removed, some: slice) -> None:
        """All pairs in one shape, of some scales, and the same bits in place."""
        scales = range(len(self.raw))[some]
        pairs = list(itertools.product(range(len(self.x)), scales))
        got = [self.call(i, j, shape, n, d, weight, removed, False) for i, j in pairs]
        there = [self.call(i, j, shape, n, d, weight, removed, True) for i, j in pairs]
        for (i, j), one, two in zip(pairs, got, there, strict=True):
            for member in self.loss.members:
                mine, other = getattr(one, member), getattr(two, member)
                assert np.array_equal(mine, other, equal_nan=True), (
                    f"{member} in place, {self.said(i, j)}: {other}, not {mine}"
                )
        special_times, plain_times = (removed != "special") * (d - 1), int(removed != "plain")
        grid = len(self.x), len(scales)
        for member in ("value", self.loss.first, self.loss.scale):
            found = np.array([getattr(one, member) for one in got])
            found = found.reshape(*grid, *found.shape[1:])
            own = {"value": (n,), self.loss.first: (n, d)}.get(member, SHAPES[shape](n, d))
            assert found.shape == (*grid, *own)
            repeats = n * d // max(1, int(np.prod(own)))
            for index in np.ndindex(own):
                times = special_times, plain_times
                if own[-1:] == (d,):  # of one column
                    last = index[-1] == d - 1
                    times = (0, plain_times) if last else (int(special_times > 0), 0)
                    times = times[0] * repeats, times[1] * repeats
                elif member == self.loss.scale:
                    times = times[0] * repeats // d, times[1] * repeats // d
                everywhere = np.zeros((len(self.x), len(self.raw)), found.dtype)
                everywhere[:, some] = found[(..., *index)]
                if self.plain is None:
                    times = sum(times), 0
                self.judge(member, everywhere, times, (shape, n, d, weight, removed, index), some)

    def judge(self, member: str, found: np.ndarray, times: tuple[int, int], case: tuple, some: slice) -> None:
        limit = member == "value" and case[0] in CONSTANT and declared.of_squares(self.loss.name)
        truth = self.truth(member, *times, limit=limit)
        right = truth.fits(found, self.loss.bounds[member != "value"], self.dtype)
        right |= ~np.isin(np.arange(len(self.raw)), np.arange(len(self.raw))[some])
        special_nan, scale_nan = np.isnan(self.x)[:, np.newaxis], np.isnan(self.raw)
        reached = (case[4] != "special") & special_nan | scale_nan
        right |= np.isnan(found) & reached & (sum(times) > 0)
        wrong = np.argwhere(~right)
        some = "; ".join(
            [
                f"{self.said(i, j)}: {found[i, j]!r}, not {truth.high[i, j]} ({truth.kind[i, j]})"
                for i, j in wrong[:: len(wrong) // 5 + 1]
            ]
        )
        assert not some, f"{member}, {case}: {len(wrong)} wrong, such as {some}"

    def said(self, i: int, j: int) -> str:
        return f"x={self.x[i]!r}, {self.name}={self.raw[j]!r}"


def specials_of(name: str, dtype) -> np.ndarray:
    """Of a scale; without a logarithm of the variance beyond the largest float."""
    values = special(dtype)
    if declared.is_linear(name):
        return values[~(values <= 0)]
    with np.errstate(over="ignore"):
        return values[np.isfinite(variance.FORMS[declared.form_of(name)][1] * values) | ~np.isfinite(values)]


def check_all(cases: Cases, shape: str) -> None:
    """Every weight and mask; in CI each with one of the sizes, most with a third of the scales."""
    for k, (weight, removed) in enumerate(itertools.product(WEIGHTS, REMOVED)):
        for n, d in effort([SIZES[k % len(SIZES)]], SIZES):
            cases.check(shape, n, d, weight, removed, effort(slice(k % 3, None, 3 if k else 1), slice(None)))


@pytest.mark.parametrize("shape", SHAPES)
@OF_FORMS
@DTYPES
def test_special_values(case, form, shape, dtype):
    limits = np.finfo(dtype)
    few = [np.nan, np.inf, PLAIN, 0.0, limits.max, -(float(limits.max) ** 0.5), limits.smallest_subnormal]
    x = effort(np.array(few, dtype), special(dtype))
    check_all(Cases(case, form, dtype, x, specials_of(form, dtype)), shape)


@pytest.mark.parametrize("q", variance.SCALES)
@pytest.mark.parametrize("p", variance.SCALES)
@DTYPES
def test_two_special_scales(q, p, dtype):
    """Of the KL, each for all elements, or one for each: rows of one element, so that both are the same."""
    some = effort(slice(None, None, 2), slice(None))
    wrong = []
    for raw, prior_raw in itertools.product(specials_of(q, dtype)[some], specials_of(p, dtype)[some]):
        one = np.full((1, 1), PLAIN, dtype)
        options = {"prior_mean": 0 * one, "wrt": oracles.KL_MEMBERS[1:]}
        shared = fe.gaussian_kl_grad(one, **{q: raw, f"prior_{p}": prior_raw}, **options)
        arrays = {q: np.full((1, 1), raw), f"prior_{p}": np.full((1, 1), prior_raw)}
        for member, mine, want in zip(
            oracles.KL_MEMBERS, shared, fe.gaussian_kl_grad(one, **arrays, **options), strict=True
        ):
            alike = classes(mine).ravel() == classes(want).ravel()
            if member == "value" and np.isfinite(want).all():
                alike &= abs(mine - want) <= 16 * rounding.eps(dtype) * want
            if not alike:
                wrong.append(f"{member} of {q}={raw!r}, prior_{p}={prior_raw!r}: {mine} not {want}")
    assert not wrong, f"{len(wrong)} wrong, such as {'; '.join(wrong[:: len(wrong) // 5 + 1])}"


def far(dtype) -> tuple[list[int], list[int]]:
    """Decades of x and of σ²: squares that are subnormal or beyond the largest float, and 1/σ² likewise.

    The last two of x have squares that begin to be lost beside the smallest normal number.
    """
    if dtype == np.float32:
        return [*range(-36, 38, 4), -17, -15], list(range(-44, 46, 6))
    return [*range(-300, 301, 50), -144, -142], [*range(-320, 321, 40), -288, -284]


@pytest.mark.parametrize("shape", effort(["number", "rows"], list(SHAPES)))
@OF_FORMS
@DTYPES
def test_far_scales(case, form, shape, dtype):
    """Alone in their rows: beside a number of another size they would be lost in the sum."""
    decades, variances = far(dtype)
    with np.errstate(all="ignore"):
        x = np.array([10.0**k for k in decades]).astype(dtype)
        raw = variance.raw_of(declared.form_of(form), np.log(10) * np.array(variances)).astype(dtype)
    normal = np.isfinite(raw) & ((abs(raw) > 4 * np.finfo(dtype).tiny) | declared.is_log(form))
    cases = Cases(case, form, dtype, x, raw[normal])
    for weight, n, d in ((None, 2, 2), (None, 1, 70), ("rows", 2, 33)):
        cases.check(shape, n, d, weight, None, slice(None))
