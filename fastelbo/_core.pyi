"""What the compiled core offers Python: five fast doors, and the one call behind `_rules`."""

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
from typing_extensions import disjoint_base

from fastelbo._results import KLGrad, NLLGrad

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
def register(
    axis: int, evaluate: Callable[..., Any], evaluate_elbo: Callable[..., list[Any]],
    results: tuple[type, type, type, type], get_num_threads: Callable[[], int], /,
) -> None: ...  # fmt: skip
def elementary(name: str, x: _Array, /) -> _Array: ...
def nll(
    x: Any, mean: Any, var: Any, std: Any, logvar: Any, logstd: Any, precision: Any,
    axis: Any, full: Any, weight: Any, where: Any, min_var: Any, reduction: Any, out: Any, x_scale: Any, /,
) -> Any: ...  # fmt: skip
def nll_grad(
    x: Any, mean: Any, var: Any, std: Any, logvar: Any, logstd: Any, precision: Any,
    axis: Any, full: Any, weight: Any, where: Any, min_var: Any, reduction: Any, wrt: Any, out: Any,
    x_scale: Any, /,
) -> NLLGrad: ...  # fmt: skip
def kl(
    mean: Any, var: Any, std: Any, logvar: Any, logstd: Any, precision: Any, prior_mean: Any,
    prior_var: Any, prior_std: Any, prior_logvar: Any, prior_logstd: Any, prior_precision: Any,
    axis: Any, weight: Any, where: Any, reduction: Any, out: Any, /,
) -> Any: ...  # fmt: skip
def kl_grad(
    mean: Any, var: Any, std: Any, logvar: Any, logstd: Any, precision: Any, prior_mean: Any,
    prior_var: Any, prior_std: Any, prior_logvar: Any, prior_logstd: Any, prior_precision: Any,
    axis: Any, weight: Any, where: Any, reduction: Any, wrt: Any, out: Any, /,
) -> KLGrad: ...  # fmt: skip
def neg_elbo(
    x: Any, recon: Any, z_mean: Any, var: Any, std: Any, logvar: Any, logstd: Any, precision: Any,
    z_var: Any, z_std: Any, z_logvar: Any, z_logstd: Any, z_precision: Any, prior_mean: Any,
    prior_var: Any, prior_std: Any, prior_logvar: Any, prior_logstd: Any, prior_precision: Any,
    x_scale: Any, beta: Any, axis: Any, z_axis: Any, full: Any, weight: Any, where: Any, z_where: Any,
    min_var: Any, reduction: Any, grad: bool, wrt: Any, out: Any, /,
) -> Any: ...  # fmt: skip

@disjoint_base
class Prepared:
    def check(self) -> bool: ...
    def run(self) -> tuple[float | None, bool]: ...

def prepare(
    loss: str, is_double: bool, n_event: int,
    arguments: tuple[_Array | None, ...], broadcast: tuple[int, ...], scale_kind: int, prior_kind: int,
    min_var: float, full: bool, reduction: str,
    value: _Array | None, gradients: tuple[_Array | None, ...], aliased: bool,
    factor: float = 1.0, x_scale: float = 1.0, value_unit: float = 0.0,
    join: tuple[_Array | None, float, _Array, _Array, float] | None = None, /,
) -> Prepared: ...  # fmt: skip
def joined(nll: Prepared, kl: Prepared, samples: float, beta: float) -> tuple[float, float]: ...
def unit_of_samples(is_double: bool, count: int) -> float: ...
