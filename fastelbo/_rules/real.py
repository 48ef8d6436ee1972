"""What counts as real numbers: arguments become plain arrays here, or an error says the way out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from fastelbo._typing import Array

MASKS: Final = ("where", "z_where")
REAL: Final = frozenset("?bBhHiIlLqQnNpPefd")  # dtype.char: booleans, integers, float16, float32, float64

_LONG: Final = "pass np.asarray({name}, np.float64), without the digits beyond it"
_COMPLEX: Final = "take {name}.real and {name}.imag as two features, or np.abs({name})"
_TIME: Final = "divide a difference of times by a unit, as np.timedelta64(1, 's')"
#: The way out by dtype.char, where a plain conversion would lose something or fail
_NOT_REAL: Final = {"g": _LONG, "F": _COMPLEX, "D": _COMPLEX, "G": _COMPLEX, "m": _TIME, "M": _TIME}


def as_plain(names: Sequence[str], passed: Sequence[Any]) -> list[Any]:
    """The arguments as plain real arrays, and Python scalars."""
    return [real_array(name, value) for name, value in zip(names, passed, strict=True)]


def real_array(name: str, value: Any, alone: bool = False) -> Any:
    """`value` as a plain real ndarray; Python scalars come back as they are, being weak (NEP 50).

    `alone`: it is to be one number, which no array takes the place of.
    Nobody looks at `value` again: a subclass may answer as it likes, and an array-like differently each time.
    """
    if type(value) is np.ndarray:
        array = value
    elif type(value) in (float, int, bool):
        if type(value) is int and abs(value) > sys.float_info.max:
            raise ValueError(f"{name} is an int beyond the range of float64")
        return value
    elif issubclass(type(value), np.ma.MaskedArray):
        mask = "z_where" if name.startswith("z_") else "where"
        left_out = {mask: f"{mask}.filled(False)", "weight": "weight.filled(0)"}.get(
            name, f"{name}.filled(...), or {name}.data and, in a loss that takes it, {mask}=~{name}.mask"
        )
        raise TypeError(f"{name} is a masked array, whose mask would be lost: pass {left_out}")
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:  # ragged lists
            raise ValueError(f"{name} does not make an array: {error}") from error
        except (RuntimeError, TypeError) as error:  # of tensors, which say the way out
            if isinstance(error, TypeError) and str(getattr(value, "dtype", "")) == "torch.bfloat16":
                raise TypeError(
                    f"{name} is a tensor of bfloat16, which NumPy lacks: pass {name}.float().numpy(), "
                    f"or {name}.view(torch.int16).numpy().view(ml_dtypes.bfloat16), which is read as it is"
                ) from error
            error.add_note(f"raised by np.asarray({name})")
            raise
    if not _is_real(array.dtype):
        found = "has"
        char = array.dtype.char if array.dtype.kind in "fcmM" else ""
        why = _NOT_REAL.get(char, "convert it, for example np.asarray({name}, np.float64)")
        if name in MASKS:
            raise TypeError(
                f"{name} must be boolean, not {array.dtype}: {_way_to_a_mask(name, value, array)}"
            )
        if array.dtype == object and hasattr(value, "to_numpy"):  # of pandas
            why = _way_from_pandas(value, array)
        if array.dtype == object and array.ndim == 0:  # nothing that NumPy takes for numbers
            of = "None" if value is None else f"a {type(value).__name__}"
            found, why = f"({of}) has", "pass a number or an array"
        if alone and array.dtype.kind not in "fmM":
            why = "pass a number"
        why = why.format(name=name)
        raise TypeError(f"{name} {found} dtype {array.dtype}; it must be real, at most float64: {why}")
    return array


def _is_real(dtype: np.dtype[Any]) -> bool:
    """Kind and char: those of dtypes that packages add may have either in common with NumPy's own."""
    return (dtype.kind in "biuf" and dtype.char in REAL) or is_bfloat16(dtype)


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """That of the package ml_dtypes, which need not be installed."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def _way_from_pandas(value: Any, array: Array) -> str:
    """What can be passed for a column that NumPy takes for objects: of missing values, or of strings."""
    if any(isinstance(item, str) for item in array.flat):
        if array.ndim > 1:  # a frame
            spelt, codes = "{name}.apply(pd.to_numeric)", ""
        else:
            spelt = "pd.to_numeric({name})"
            numbers = "{name}.cat.codes" if hasattr(value, "cat") else "pd.factorize({name})[0]"
            codes = f", or {numbers}, which are their numbers"
        return (
            f"of strings that spell numbers, pass {spelt}.to_numpy(np.float64); of categories, "
            f"pd.get_dummies({{name}}).to_numpy(np.float64), a feature for each{codes}"
        )
    present = "{name}.notna()" if hasattr(value, "notna") else "~{name}.isna()"
    return (
        "for missing values, pass {name}.to_numpy(np.float64, na_value=np.nan) and, "
        f"in a loss that takes it, where={present}"
    )


def _way_to_a_mask(name: str, value: Any, array: Array) -> str:
    kind = array.dtype.kind
    if not array.ndim:
        return "pass an array of True and False"
    if kind == "O" and hasattr(value, "fillna"):  # of pandas, with missing values
        return f"pass {name}.fillna(False).to_numpy(bool)"
    if kind in "mM":
        return f"pass ~np.isnat({name}) for what is no NaT"
    if kind in "cf":
        return f"pass np.not_equal({name}, 0)"
    true = {"O": True, "S": b"True", "U": "True"}.get(kind)
    if true:
        return f"pass np.equal({name}, {true!r}), for example"
    return "pass an array of True and False"
