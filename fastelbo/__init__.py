"""Gaussian VAE losses and their gradients on plain NumPy arrays: one pass, no temporaries, correct digits.

Values and gradients: `neg_elbo`, `neg_elbo_grad`, and the two losses they are made of, `gaussian_nll`,
`gaussian_nll_grad`, `gaussian_kl`, `gaussian_kl_grad`; for other data `bernoulli_nll`, `laplace_nll` and
more, each with its `_grad`; `optimal_nll`, `optimal_nll_grad`, the Gaussian NLL at the variance that
minimises it, which is `optimal_var`. `reparameterize` draws samples, `reparameterize_grad` leads back from
them. `iwae_bound`, `free_bits` and `implied_objective` are about what is optimised. `reference` has losses
and samples in plain NumPy, to read and compare.
"""

try:
    # Not "from ... import": only so does the error name what is missing. Not as _core: mypy would take that
    # for this name, private here, wherever a module imports the core.
    import fastelbo._core as _compiled
except ModuleNotFoundError as _error:
    if _error.name != "fastelbo._core":
        raise
    raise ImportError(
        f"fastelbo's compiled core is missing from {__path__[0]}: "
        "a source tree that is not built, or an install for another Python. "
        "Run `pip install .` in the source tree and import from another directory, "
        "or `pip install -e .` to work on the tree in place."
    ) from _error

if _compiled.OPENMP:  # in this build
    try:  # not in _core: what packs programs reads the imports of Python files
        from fastelbo._openmp import table as _table  # type: ignore[import-not-found]
    except ImportError as _error:
        from warnings import warn as _warn

        _compiled.openmp_error = str(_error)
        _warn(
            f"fastelbo runs on one thread, because its OpenMP runtime does not load ({_error}). "
            + (
                "Libraries loaded before have used up the room for thread-local variables: import fastelbo "
                "first, or start Python with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=32768"
                if "static TLS" in str(_error)
                else "Install fastelbo anew or, where it was compiled on this machine, the runtime "
                "(on Debian, apt install libgomp1)"
            ),
            RuntimeWarning,
            stacklevel=2,
        )
    else:
        _compiled.use_openmp(_table)

from fastelbo import _losses, _threads, reference
from fastelbo._config import show_config
from fastelbo._free_bits import free_bits
from fastelbo._implied import implied_objective
from fastelbo._losses import *  # noqa: F403  # the names are those of the declarations
from fastelbo._objectives import (
    iwae_bound,
    optimal_nll,
    optimal_nll_grad,
    optimal_var,
)
from fastelbo._results import (
    FreeBits,
    ImpliedObjective,
    IWAEBound,
    OptimalNLLGrad,
    Reparameterized,
    ReparameterizeGrad,
)
from fastelbo._sampling import reparameterize, reparameterize_grad
from fastelbo._threads import get_num_threads, set_num_threads
from fastelbo._version import __version__ as __version__

if _threads.rubbish:
    from warnings import warn as _warn

    _warn(
        f"FASTELBO_NUM_THREADS={_threads.rubbish!r} is not a number of threads, an int >= 1: it is ignored",
        RuntimeWarning,
        stacklevel=2,
    )

__all__ = [
    "FreeBits",
    "IWAEBound",
    "ImpliedObjective",
    "OptimalNLLGrad",
    "ReparameterizeGrad",
    "Reparameterized",
    "free_bits",
    "get_num_threads",
    "implied_objective",
    "iwae_bound",
    "optimal_nll",
    "optimal_nll_grad",
    "optimal_var",
    "reference",
    "reparameterize",
    "reparameterize_grad",
    "set_num_threads",
    "show_config",
]
__all__ += _losses.__all__


def __dir__() -> list[str]:
    """Public names and what Python asks for, without the modules behind them."""
    return sorted([*__all__, *[name for name in globals() if name.startswith("__")]])
