"""One call in guarded memory, and all that must hold of it: see contract.py for what is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import arenas
import contract
import fastelbo as fe
import rounding
import signatures
import truths

Array = np.ndarray

ULPS = 32  # of truths.truth


def judge(name: str, arguments: Mapping[str, Any], memory: arenas.Arenas) -> str:
    """Make the call and assert all that must hold; "right", or the name of the exception that was right."""
    function, rng = getattr(fe, name), arguments.get("rng")
    checks = contract.Checks(name, arguments)
    state = rng.bit_generator.state if isinstance(rng, np.random.Generator) else None
    outputs = [np.asarray(array) for array in outs(arguments) if isinstance(array, Array)]
    expected, copies = None, None
    if not checks.found:
        expected, copies = truths.truth(name, checks), plain(arguments)
    memory.watch()
    got, raised = None, None
    try:
        got = function(**arguments)
    except Exception as error:
        raised = error
    if raised is not None:
        assert type(raised) in checks.found, f"{raised!r}, not one of {checks.found or 'none'}"
        inputs = [value for key, value in arguments.items() if key != "out" and isinstance(value, Array)]
        memory.assert_unchanged(outputs if checks.domain else (), never=inputs)
        assert state is None or rng.bit_generator.state == state, "an error, and yet numbers were drawn"
        return type(raised).__name__
    assert not checks.found, f"no error, but one of {checks.found} is right"
    memory.assert_unchanged(outputs)
    compare(name, checks, got, expected)
    if state is not None:
        copies["rng"].bit_generator.state = state
    # The same numbers in plain arrays: the same bits.
    same_bits(got, function(**copies))
    return "right"


def outs(arguments: Mapping[str, Any]) -> Sequence[Any]:
    out = arguments.get("out")
    return out if isinstance(out, tuple) else (out,)


def plain(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The same arguments in fresh, contiguous, native arrays, without outputs."""
    copies = dict(arguments)
    for key, value in arguments.items():
        if isinstance(value, Array) and not isinstance(value, np.ma.MaskedArray):
            memory = np.asarray(value)  # whatever a subclass says
            copies[key] = np.array(memory, native(memory.dtype), order="C")
    if isinstance(arguments.get("rng"), np.random.Generator):
        copies["rng"] = np.random.default_rng(0)
    copies.pop("out", None)
    return copies


def native(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind == "V" else dtype.newbyteorder("=")


def in_bytes(array: Array) -> bytes:
    return array.astype(native(array.dtype)).tobytes()


def members_of(got: Any) -> dict[str, Any]:
    return got._asdict() if isinstance(got, tuple) else {"value": got}


def compare(name: str, checks: contract.Checks, got: Any, expected: Mapping[str, truths.Answer]) -> None:
    """Members, their types, dtypes and shapes; and values within the bound of truths.truth."""
    given, row = checks.given, signatures.FUNCTIONS[name]
    out = given.get("out")
    places = dict(zip(row.out, out if isinstance(out, tuple) else (out,), strict=False))
    reduced = given.get("reduction", "none") != "none"
    members = members_of(got)
    assert {key for key, value in members.items() if value is not None} == expected.keys()
    for key, (value, size) in expected.items():
        mine = members[key]
        if places.get(key) is not None:
            assert mine is places[key], f"{key} is not what out gave"
        elif (reduced and key in signatures.VALUES) or (row.loss == "bits" and key == "value"):
            assert type(mine) is float, f"{key} is {type(mine)}"
        else:
            is_input = row.loss == "sample" and key == "eps" and given["eps"] is not None
            assert type(mine) is Array or isinstance(mine, np.generic), f"{key} is {type(mine)}"
            assert is_input or mine.dtype == checks.dtype, f"{key} has {mine.dtype}, not {checks.dtype}"
        mine = np.asarray(mine)
        assert np.shape(mine) == np.shape(value), f"{key} has shape {np.shape(mine)}, not {np.shape(value)}"
        bound = ULPS * rounding.eps(checks.dtype) * np.asarray(size, float)
        with np.errstate(all="ignore"):
            right = abs(mine.astype(float) - value) <= bound
            right |= mine == np.asarray(value).astype(checks.dtype)  # infinite, or beyond the dtype
        right |= np.isnan(mine) & np.isnan(value)
        assert np.all(right), f"{key} is\n{mine!r}, not\n{value!r}"


def same_bits(got: Any, want: Any) -> None:
    for (key, one), two in zip(members_of(got).items(), members_of(want).values(), strict=True):
        if one is not None:
            one, two = (np.asarray(member) for member in (one, two))  # eps, as it was given
            same = one.shape == two.shape and in_bytes(one) == in_bytes(two)
            assert same, f"{key}: other bits in plain arrays\n{one!r}\n{two!r}"
