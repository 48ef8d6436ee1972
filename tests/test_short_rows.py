"""Rows of a few elements end many at a time: the bits of each are those that it has alone, whatever its
neighbours hold; and so are errors, limits and elements whose terms leave the range of the dtype on the way.
"""

import itertools
from typing import Any

import numpy as np
import pytest

import fastelbo as fe

F4, F8 = np.float32, np.float64
#: More than one tile and one block of rows, and no multiple of a vector
ROWS = 1237
#: A single element; fewer than there are lanes, as many, more; lines of them
LENGTHS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 31, 32, 33, 47, 49)
FORMS = ("var", "std", "logvar", "logstd", "precision")
SHAPES = ("elements", "columns", "rows", "one")


def shape_of(part: str, length: int) -> tuple[int, ...]:
    return {"elements": (ROWS, length), "columns": (length,), "rows": (ROWS, 1), "one": ()}[part]


def numbers(key: int, shape: tuple[int, ...], dtype: type) -> Any:
    return np.random.default_rng(key).normal(size=shape).astype(dtype)


def scale_of(form: str, key: int, shape: tuple[int, ...], dtype: type) -> Any:
    s = numbers(key, shape, dtype) / 2
    return np.array(s if form.startswith("log") else np.exp(s), dtype)


def row(a: Any, i: int, part: str) -> Any:
    """Of an argument, what the i-th row takes of it."""
    return a[i : i + 1] if part in ("elements", "rows", "weights") else a


def bits(a: Any) -> bytes:
    return np.ascontiguousarray(a).tobytes()


def alike(function: Any, arguments: dict[str, Any], parts: dict[str, str], rows: Any, **options: Any) -> None:
    """The rows' results at once and one by one; of gradients those that are not broadcast."""
    want = function(**arguments, **options)
    for i in rows:
        own = {name: row(a, i, parts[name]) for name, a in arguments.items()}
        got = function(**own, **options)
        pairs = [(got, want, "elements")]
        if isinstance(want, tuple):
            pairs = [(got.value, want.value, "elements"), (got.mean, want.mean, "elements")]
            pairs += [(got.scale, want.scale, parts[next(name for name in parts if name in FORMS)])]
        for one, all_, part in pairs:
            assert part in ("columns", "one") or bits(one) == bits(all_[i : i + 1]), (i, one, all_[i])


def spoilt(dtype: type) -> list[float]:
    """What an element may hold in the middle of a tile that is not settled by its row's sum alone."""
    info = np.finfo(dtype)
    largest, smallest = float(info.max), float(info.smallest_subnormal)
    return [np.inf, -np.inf, np.nan, largest, np.sqrt(largest), smallest, 0.0, -0.0]


def some_rows(spoilt_rows: Any = ()) -> list[int]:
    """Those that are spoilt, their neighbours, the ends of blocks, and a few more."""
    near = {i + k for i in spoilt_rows for k in (-1, 0, 1)}
    ends = {i + k for i in (16, 64, 256, 512, 1024, ROWS) for k in (-2, -1)}
    return sorted(near | ends | {*range(0, ROWS, 97)})


@pytest.mark.parametrize("dtype", [F4, F8])
@pytest.mark.parametrize("length", LENGTHS)
def test_rows_have_the_bits_that_they_have_alone(length, dtype):
    """With and without weights, removed elements and gradients; under each kind and shape of a scale."""
    x, mean = numbers(1, (ROWS, length), dtype), numbers(2, (ROWS, length), dtype)
    weight = np.abs(numbers(3, (ROWS, length), dtype))
    where = numbers(4, (ROWS, length), dtype) > -0.5
    where[::5] = False
    extras = ({}, {"weight": weight}, {"where": where}, {"weight": weight, "where": where})
    calls = itertools.cycle(itertools.product(extras, (fe.gaussian_nll, fe.gaussian_nll_grad)))
    for (form, part), _ in itertools.product(itertools.product(FORMS, SHAPES), range(2)):
        extra, function = next(calls)
        scale = scale_of(form, 5, shape_of(part, length), dtype)
        arguments = {"x": x, "mean": mean, form: scale, **extra}
        parts = dict.fromkeys(arguments, "elements") | {form: part}
        alike(function, arguments, parts, some_rows())
        if function is fe.gaussian_nll:
            kl = {"mean": mean, form: scale, **extra}
            alike(fe.gaussian_kl, kl, {name: parts[name] for name in kl}, some_rows()[::3])


@pytest.mark.parametrize("dtype", [F4, F8])
@pytest.mark.parametrize("length", [1, 2, 3, 8, 17, 33])
@pytest.mark.parametrize("spoils", ["x", "scale", "weight"])
def test_what_is_odd_in_one_row_shows_in_no_other(spoils, length, dtype):
    """An infinite, subnormal or largest element, scale or weight in the middle of a tile of usual ones."""
    for n, (form, part) in enumerate(itertools.product(("var", "logvar", "precision"), SHAPES)):
        if spoils == "scale" and part in ("columns", "one"):
            continue
        arguments = {"x": numbers(1, (ROWS, length), dtype), "mean": numbers(2, (ROWS, length), dtype)}
        arguments[form] = scale_of(form, 5, shape_of(part, length), dtype)
        parts = {"x": "elements", "mean": "elements", form: part}
        if spoils == "weight" or n % 3 == 2:
            arguments["weight"] = np.abs(numbers(3, (ROWS, length), dtype))
            parts["weight"] = "elements"
        victim = arguments[form if spoils == "scale" else spoils]
        places = [40, 41, 200, 513, 514, 700, 1100, 1230]
        for i, value in zip(places, spoilt(dtype), strict=True):
            value = abs(value) or 1e-30 if spoils == "scale" and form != "logvar" else value
            victim[i, length // 2 if victim.shape[1] > 1 else 0] = value
        alike((fe.gaussian_nll, fe.gaussian_nll_grad)[n % 2], arguments, parts, some_rows(places))


@pytest.mark.parametrize("dtype", [F4, F8])
@pytest.mark.parametrize("length", [1, 3, 16, 33])
@pytest.mark.parametrize("part", SHAPES)
def test_a_scale_that_is_none_is_found_among_others(part, length, dtype):
    """Unless `where` has removed all of its row."""
    x, mean = numbers(1, (ROWS, length), dtype), numbers(2, (ROWS, length), dtype)
    var = scale_of("var", 5, shape_of(part, length), dtype)
    where = np.ones((ROWS, length), bool)
    where[517] = False
    at = {"elements": (517, length // 2), "columns": (length // 2,), "rows": (517, 0), "one": ()}[part]
    want = fe.gaussian_nll(x, mean, var=var, where=where)
    var[at] = -1
    for reduction in ("none", "sum"):
        with pytest.raises(ValueError, match="var"):
            fe.gaussian_nll(x, mean, var=var, reduction=reduction)
    if part in ("columns", "one"):
        with pytest.raises(ValueError, match="var"):
            fe.gaussian_nll(x, mean, var=var, where=where)
    else:
        got = fe.gaussian_nll(x, mean, var=var, where=where)
        assert bits(got) == bits(want)
        assert got[517] == 0


@pytest.mark.parametrize("dtype", [F4, F8])
@pytest.mark.parametrize("length", [1, 3, 8, 17, 64])
@pytest.mark.parametrize("part", SHAPES)
def test_a_reduced_value_is_the_sum_of_its_rows(part, length, dtype):
    """Rows take turns at a few sums; those near the end of the range, one in a tile, come apart."""
    x, mean = numbers(1, (ROWS, length), dtype).astype(F8), numbers(2, (ROWS, length), dtype).astype(F8)
    logvar = scale_of("logvar", 5, shape_of(part, length), dtype)
    rows = fe.gaussian_nll(x, mean, logvar=logvar.astype(F8))
    got = fe.gaussian_nll(x.astype(dtype), mean.astype(dtype), logvar=logvar, reduction="sum")
    assert abs(got - np.sum(rows)) <= 20 * np.finfo(dtype).eps * np.sum(np.abs(rows))
    for value, want in ((np.inf, np.inf), (np.nan, np.nan)):
        odd = x.astype(dtype)
        odd[700, length // 2] = value
        got = fe.gaussian_nll(odd, mean.astype(dtype), logvar=logvar, reduction="mean")
        assert np.isclose(got, want, equal_nan=True)
    far = np.full((ROWS, length), np.sqrt(np.finfo(F8).max) / (30 * np.sqrt(length)))
    mean_of_far = fe.gaussian_nll(far, 0 * far, var=np.ones(shape_of(part, length)), reduction="mean")
    assert np.isclose(mean_of_far, np.finfo(F8).max / 1800, rtol=1e-12)


@pytest.mark.parametrize("dtype", [F4, F8])
def test_single_elements_under_a_scale_that_some_axes_lack(dtype):
    """Tiles go on across axes that cannot be merged, to the bits of arguments that lie otherwise."""
    shape = (13, 29, 3)
    x, mean = numbers(1, shape, dtype), numbers(2, shape, dtype)
    for own in ((3,), (29, 1), (13, 1, 3), (13, 1, 1), (29, 3), (1, 1, 1)):
        scale = scale_of("logvar", 3, own, dtype)
        whole = np.array(np.broadcast_to(scale, shape))
        for axis in ((), -1, (1, 2), (0, 2)):
            want = fe.gaussian_nll(x, mean, logvar=whole, axis=axis)
            close = {"rtol": 30 * np.finfo(dtype).eps, "atol": 30 * np.finfo(dtype).eps * x[0].size}
            assert np.allclose(fe.gaussian_nll(x, mean, logvar=scale, axis=axis), want, **close)
            turned = [np.asfortranarray(a) for a in (x, mean)]
            got = fe.gaussian_nll_grad(*turned, logvar=scale, axis=axis)
            assert bits(got.value) == bits(fe.gaussian_nll(x, mean, logvar=scale, axis=axis))
            assert bits(got.mean) == bits(fe.gaussian_nll_grad(x, mean, logvar=scale, axis=axis).mean)
        want = fe.gaussian_nll(x, mean, logvar=whole, axis=())
        assert bits(fe.gaussian_nll(x, mean, logvar=scale, axis=())) == bits(want)
