"""What the compiled core offers Python: doors, and the one call behind the rules."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
from typing_extensions import disjoint_base

_Array = npt.NDArray[Any]

SCALES: tuple[str, ...]
OPENMP: bool
openmp_error: str
__test__: dict[str, str]  # Cython's

def isa() -> str: ...
def isa_levels() -> tuple[str, ...]: ...
def compiler() -> str: ...
def use_openmp(table: object, /) -> None: ...
def openmp_version() -> int: ...
def openmp_runtime() -> str: ...
def openmp_max_threads() -> int: ...
def openmp_thread_limit() -> int: ...
def in_parallel() -> bool: ...
def forked() -> bool: ...
def kernels_of_losses() -> tuple[str, ...]: ...
def forget() -> None: ...
def elementary(name: str, x: _Array, /) -> _Array: ...

@disjoint_base
class Door:
    general: Callable[..., Any]
    def __init__(
        self, parameters: tuple[str, ...], halves: tuple[dict[str, Any], ...],
        fields: tuple[tuple[str, int, int], ...], result: type | None, default_axis: int,
        num_threads: Callable[[], int], general: Callable[..., Any],
    ) -> None: ...  # fmt: skip
    def entry(self) -> Callable[..., Any]: ...

@disjoint_base
class Prepared:
    def check(self) -> bool: ...
    def run(self) -> tuple[float | None, bool]: ...

def prepare(
    loss: str, is_double: bool, n_event: int,
    arguments: tuple[_Array | None, ...], broadcast: tuple[int, ...], scale_kind: int, prior_kind: int,
    min_var: float, full: bool, reduction: str,
    value: _Array | None, gradients: tuple[_Array | None, ...], aliased: bool,
    num_threads: Callable[[], int], factor: float = 1.0, x_scale: float = 1.0, value_unit: float = 0.0,
    join: tuple[_Array | None, float, _Array, _Array, float] | None = None,
    parameters: tuple[float, ...] = (), /,
) -> Prepared: ...  # fmt: skip
def joined(nll: Prepared, kl: Prepared, samples: float, beta: float) -> tuple[float, float]: ...
def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> _Array: ...
def empty_like(array: _Array, dtype: npt.DTypeLike) -> _Array: ...
def kept_memory() -> tuple[int, int]: ...
def keep_memory(most: int) -> None: ...
def unit_of_samples(is_double: bool, count: int) -> float: ...
def run_latents(
    form: str, is_double: bool, back: bool, summed: int, views: tuple[_Array | None, ...], aliased: bool,
    num_threads: Callable[[], int], /,
) -> None: ...  # fmt: skip
def run_bound(
    is_double: bool, summed: int, views: tuple[_Array, _Array, _Array, _Array],
    num_threads: Callable[[], int], /,
) -> None: ...  # fmt: skip
def run_floor(
    is_double: bool, kl: _Array, floor: float, of_rows: bool, first: bool, dims: int,
    weights: _Array | None, there: _Array | None, num_threads: Callable[[], int], /,
) -> tuple[float, _Array] | None: ...  # fmt: skip
def optimal_var(
    x: object, mean: object, axis: object, x_scale: object, weight: object, where: object,
    num_threads: Callable[[], int], /,
) -> Any: ...  # fmt: skip
def optimal_nll(
    x: object, mean: object, x_scale: object, axis: object, full: object, weight: object, where: object,
    min_var: object, reduction: object, wrt: object, out: object, result: type | None,
    num_threads: Callable[[], int], /,
) -> Any: ...  # fmt: skip
def sums_of_squares(
    is_double: bool, n_event: int, arguments: tuple[_Array | None, ...], row_weight: bool, x_scale: float,
    num_threads: Callable[[], int], /,
) -> tuple[_Array, _Array, _Array]: ...  # fmt: skip
def optimal_gradients(
    is_double: bool, n_event: int, arguments: tuple[_Array | None, ...], row_weight: bool, x_scale: float,
    gradients: tuple[_Array | None, _Array | None], variance: _Array, exponent: _Array, divisor: float,
    aliased: bool, num_threads: Callable[[], int], /,
) -> None: ...  # fmt: skip
def bound(log_w: object, axis: object, result: type, num_threads: Callable[[], int], /) -> Any: ...
def samples_door(result: type, num_threads: Callable[[], int]) -> Callable[..., Any]: ...
def way_back_door(result: type, num_threads: Callable[[], int]) -> Callable[..., Any]: ...
def bits_door(result: type, default_axis: object, num_threads: Callable[[], int]) -> Callable[..., Any]: ...
