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
def unit_of_samples(is_double: bool, count: int) -> float: ...
def run_latents(
    form: str, is_double: bool, back: bool, summed: int, views: tuple[_Array | None, ...], aliased: bool,
    num_threads: Callable[[], int], /,
) -> None: ...  # fmt: skip
def run_bound(
    is_double: bool, summed: int, views: tuple[_Array, _Array, _Array, _Array],
    num_threads: Callable[[], int], /,
) -> None: ...  # fmt: skip
def samples_door(result: type, num_threads: Callable[[], int]) -> Callable[..., Any]: ...
def way_back_door(result: type, num_threads: Callable[[], int]) -> Callable[..., Any]: ...
