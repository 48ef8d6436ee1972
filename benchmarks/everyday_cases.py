"""The calls of everyday.py, by the signatures and declarations: a function that is new has its own."""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastelbo as fe
import numpy_calls
from fastelbo._declare import FORMS, VALUES
from fastelbo._families import JOINTS, LOSSES

Array = np.ndarray[Any, np.dtype[Any]]
Shape = tuple[int, ...]
Args = dict[str, Any]  # of a call; what is callable makes the argument, and ... removes one
Call = Callable[[], Any]

MAIN: tuple[Shape, ...] = ((1, 2), (128, 32), (128, 784), (4096, 64))
OF_SAMPLES: tuple[Shape, ...] = ((1, 2), (8, 128), (64, 128), (64, 4096), (8, 4096))
MILLION, LATENTS = 10**6, 16
#: With all widths, layouts and options; in the others, which have the same code behind them, are fewer
PRIMARY = ("gaussian_nll", "gaussian_nll_grad", "gaussian_kl")
WIDTHS = {True: (1, 2, 3, 4, 8, 16, 17), False: (1, 4)}
LAYOUTS = {True: ("strided", "Fortran", "swapped", "float16 x", "int64 x"), False: ("Fortran",)}
ONCE = ("axis=None", 'reduction="sum"', "wrt x")  # options of the primary functions alone
WITHOUT_ARRAYS = ("get_num_threads", "implied_objective", "set_num_threads", "show_config")


# --- arguments ----------------------------------------------------------------------------------------------


@dataclass
class Draw:
    """Random arguments of a function, in a shape, dtype and layout."""

    function: str
    shape: Shape
    dtype: Any
    layout: str = ""

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(2013)
        self.latents = (self.shape[0], min(LATENTS, self.shape[-1]))  # of an ELBO

    def laid(self, values: Array) -> Array:
        """The values in the layout."""
        if self.layout == "strided":
            return np.repeat(values, 2, axis=-1)[..., ::2]
        if self.layout == "swapped":
            return values.astype(values.dtype.newbyteorder())
        return np.asfortranarray(values) if self.layout == "Fortran" else values

    def normal(self, *shape: int, spread: float = 1.0) -> Array:
        """Of the draw's shape, if none is given."""
        return self.laid((self.rng.standard_normal(shape or self.shape) * spread).astype(self.dtype))

    def positive(self, *shape: int) -> Array:
        """Around 1."""
        return self.laid(np.exp(self.normal(*shape, spread=0.3)))

    def data(self) -> Array:
        """x, in its own dtype where the layout names one."""
        own = self.layout.removesuffix(" x")
        return self.normal() if own == self.layout else np.round(3 * self.normal()).astype(own)

    def mask(self, *shape: int) -> Array:
        """A tenth is left out."""
        return self.rng.random(shape or self.shape) > 0.1

    def scale(self, name: str, shape: Shape | None = None) -> Array:
        """By its keyword; of the latents' shape where it is theirs."""
        latent = self.function.removesuffix("_grad") in JOINTS and name.startswith(("z_", "prior_"))
        shape = shape or (self.latents if latent else self.shape)
        return self.normal(*shape, spread=0.3) if "log" in name else self.positive(*shape)


def scale(name: str, shape: Callable[[Shape], Shape] | None = None) -> Callable[[Draw], Array]:
    """Makes a scale; `shape` is that of the data made smaller."""
    return lambda d: d.scale(name, shape and shape(d.shape))


def of_latents(d: Draw) -> Array:
    """For an ELBO."""
    return d.normal(*d.latents)


ARGUMENTS: Args = {
    "x": Draw.data, "z_mean": of_latents, "kl": Draw.positive, "min_kl": 0.9, "per": "dim", "average": "last",
    "df": 3.0, "bin": 0.1,
    **dict.fromkeys(("mean", "recon", "logits", "grad_z", "eps", "log_w"), Draw.normal),
}  # fmt: skip


def parameters(function: str) -> dict[str, inspect.Parameter]:
    """Of the signature."""
    return dict(inspect.signature(getattr(fe, function)).parameters)


def forms_of(function: str) -> list[list[str]]:
    """The keywords of each scale, the prior's last."""
    declared: Any = (LOSSES | JOINTS).get(function.removesuffix("_grad"))
    if declared:
        return [[name for name in scale.names if name] for scale in declared.all_scales]
    return [list(FORMS)] if "logvar" in parameters(function) else []


def usual(function: str) -> Args:
    """The arguments of the plainest call: what must be passed, and scales by their logarithms."""
    args = {k: ARGUMENTS[k] for k, p in parameters(function).items() if p.default is p.empty}
    for names in forms_of(function):
        name = next(name for name in names if "log" in name)
        args |= {} if name.startswith("prior_") else {name: scale(name)}
    return args | ({"eps": Draw.normal} if function == "reparameterize" else {})


# --- cases --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A call: of a function at a shape, with what differs from the plainest one."""

    function: str
    option: str
    shape: Shape
    changes: Args = field(default_factory=dict, hash=False)
    layout: str = ""
    by_hand: Callable[[Draw], tuple[Call, Call]] | None = None

    @property
    def label(self) -> str:
        """As the table has it."""
        size = "×".join(map(str, self.shape))
        return " ".join(part for part in (self.function, self.option, self.layout, size) if part)

    def arguments(self, dtype: str, shape: Shape | None = None) -> Args:
        """Of fastelbo's call; `shape` in place of its own, for tests."""
        draw = Draw(self.function, shape or self.shape, dtype, self.layout)
        makers = {k: a for k, a in (usual(self.function) | self.changes).items() if a is not ...}
        args = {k: a(draw) if callable(a) else a for k, a in makers.items()}
        if "out" in args:
            done = getattr(fe, self.function)(**copy.deepcopy(args))
            arrays: list[Any] = [a if isinstance(a, np.ndarray) else None for a in done]
            args["out"] = type(done)(*arrays) if isinstance(done, tuple) else done
        return args

    def calls(self, dtype: str, shape: Shape | None = None) -> tuple[Call, Call]:
        """Of fastelbo and of NumPy; MissingError where NumPy has none."""
        if self.by_hand:
            return self.by_hand(Draw(self.function, shape or self.shape, dtype))
        args = self.arguments(dtype, shape)
        theirs = copy.deepcopy(args)  # outputs, and generators of noise
        if "x_scale" in args:
            theirs["x_scale"] = np.dtype(dtype).type(args["x_scale"])
        ours = functools.partial(getattr(fe, self.function), **args)
        return ours, numpy_calls.numpy_call(self.function, theirs)


#: Pictures, and the shape of a scale for each channel
CHANNELS: dict[str, tuple[Shape, Callable[[Shape], Shape]]] = {
    "NHWC": ((32, 32, 32, 3), lambda s: s[-1:]),
    "NCHW": ((32, 3, 32, 32), lambda s: (s[1], 1, 1)),
}
NOISE: Args = {"eps": ..., "rng": lambda d: np.random.default_rng(1)}
EIGHT = {name: lambda d: d.normal(8, *d.shape) for name in ("grad_z", "eps", "recon", "logvar")}
MATRIX = {name: lambda d: d.normal(d.shape[0], 4, 4) for name in ("z_mean", "z_logvar")}
FEATURES: Args = {"df": lambda d: d.positive(d.shape[-1])}
LIKE_MEAN: Args = {"mean_shape": lambda d: d.shape}
ROWS: Args = {"weight": lambda d: d.positive(d.shape[0])}
PIXELS: Args = {"x": lambda d: d.rng.integers(0, 256, d.shape, np.uint8), "x_scale": 1 / 255}
#: By parameter, or family of functions and parameter: what is tried
OPTIONS: dict[str, dict[str, Args]] = {
    **{name: {name: {name: value}} for name, value in {
        "where": Draw.mask, "z_where": lambda d: d.mask(*d.latents), "min_var": 0.9, "min_scale": 0.9,
        "beta": 4.0, "prior_mean": Draw.normal, "out": None,
    }.items()},
    "axis": {f"axis={axis}": {"axis": axis} for axis in ((), 0, None)},
    "weight": {"weight (N,)": ROWS, "weight (N, D)": {"weight": Draw.positive}},
    "x_scale": {"uint8 x_scale": PIXELS},
    "full": {"full=False": {"full": False}},
    "df": {"df (D,)": FEATURES, "df (D,), full=False": FEATURES | {"full": False}},
    "low": {"low, high": {"low": -1.0, "high": 1.0}},
    "reduction": {f'reduction="{how}"': {"reduction": how} for how in ("sum", "mean")},
    "reparameterize rng": {"rng": NOISE},
    "reparameterize n_samples": {"rng, n_samples=8": NOISE | {"n_samples": 8}},
    "reparameterize eps": {"8 samples": {"eps": EIGHT["eps"]}},
    "reparameterize out": {"rng, out": NOISE | {"out": None}},
    "reparameterize_grad mean_shape": {"8 samples": LIKE_MEAN | {k: EIGHT[k] for k in ("grad_z", "eps")}},
    "iwae_bound axis": {f"axis={axis}": {"axis": axis} for axis in (-1, None)},
    "free_bits per": {'per="row"': {"per": "row"}},
    "free_bits average": {
        'average="first"': {"average": "first"},
        'per="row", average="first"': {"per": "row", "average": "first"},
    },
    "free_bits axis": {"axis=0": {"axis": 0}},
    "free_bits weight": {"weight (N,)": ROWS},
    "free_bits where": {"where (N, 1)": {"where": lambda d: d.mask(d.shape[0], 1)}},
    "optimal axis": {f"axis={axis}": {"axis": axis} for axis in (-1, 0)},
    "optimal weight": {
        "axis=-1, weight (N,)": ROWS | {"axis": -1},
        "weight (N, D)": {"weight": Draw.positive},
    },
    "optimal reduction": {'axis=-1, reduction="mean"': {"axis": -1, "reduction": "mean"}},
    "optimal out": {"axis=-1, out": {"axis": -1, "out": None}},
    "neg_elbo axis": {"axis=1": {"axis": 1}},
    "neg_elbo z_axis": {"z_axis=(-2, -1)": MATRIX | {"z_axis": (-2, -1)}},
    "neg_elbo weight": {"weight (N,)": ROWS},
    "neg_elbo recon": {"8 samples": {k: EIGHT[k] for k in ("recon", "logvar")}},
    "neg_elbo prior_mean": {"prior_mean": {"prior_mean": of_latents}},
    "neg_elbo reduction": {'reduction="none"': {"reduction": "none"}},
}  # fmt: skip


def options(function: str) -> Iterator[tuple[str, Args]]:
    """What differs from the plainest call, by the signature."""
    families = "optimal", "reparameterize_grad", function.removesuffix("_grad")
    family = next(each for each in families if function.startswith(each))
    for name in parameters(function):
        found = OPTIONS.get(f"{family} {name}", OPTIONS.get(name, {}))
        if name == "wrt":
            found = gradients(function)
        elif any(name in names for names in forms_of(function)):
            found = dict(of_form(function, name))
        yield from ((k, changes) for k, changes in found.items() if function in PRIMARY or k not in ONCE)


def gradients(function: str) -> dict[str, Args]:
    """Sets of `wrt`: one, and all."""
    declared: Any = (LOSSES | JOINTS).get(function.removesuffix("_grad"))
    names = [name for name in declared.fields if name not in VALUES] if declared else ["x", "mean"]
    means = of_latents if "z_mean" in names else Draw.normal
    prior = {"prior_mean": means, "prior_logvar": scale("prior_logvar")}
    every = {"wrt": names} | (prior if "prior_mean" in names else {})
    return {f"wrt {names[0]}": {"wrt": names[0]}, "wrt all": every}


def of_form(function: str, name: str) -> Iterator[tuple[str, Args]]:
    """All scales in another form, the prior's with its own; and in the usual one, what broadcasts."""
    forms, plain = forms_of(function), usual(function)
    if name in plain and name in forms[0]:
        own = LIKE_MEAN if "mean_shape" in parameters(function) else {}
        yield f"{name} number", own | {name: 0.3}
        yield f"{name} (N, 1)", own | {name: scale(name, lambda s: (*s[:-1], 1))}
        yield f"{name} (D,)", own | {name: scale(name, lambda s: s[-1:])}
    elif name not in plain and (name in forms[-1] or len(forms) == 2):  # an ELBO's with the prior's alone
        place = next(names for names in forms if name in names).index(name)
        passed = [names[place] for names in forms if name in forms[-1] or not names[0].startswith("prior_")]
        dropped = dict.fromkeys([key for names in forms for key in names if key in plain], ...)
        yield ", ".join(passed), dropped | {key: scale(key) for key in passed}


def of_function(function: str) -> Iterator[Case]:
    """All that is tried of it."""
    loss, primary = function.removesuffix("_grad") in LOSSES, function in PRIMARY
    shapes, at = (OF_SAMPLES, OF_SAMPLES[-1]) if function == "iwae_bound" else (MAIN, MAIN[2])
    yield from (Case(function, "", shape) for shape in shapes)
    yield from (Case(function, option, at, changes) for option, changes in options(function))
    for layout in LAYOUTS[primary]:
        if "x" in parameters(function) or " x" not in layout:
            yield Case(function, "", at, layout=layout)
    if "z_axis" in parameters(function):
        yield Case(function, "axis=(-2, -1)", (32, 28, 28), {"axis": (-2, -1)})
    if not loss:
        return
    yield Case(function, "axis=(1, 2)", (32, 28, 28), {"axis": (1, 2)})
    yield from (Case(function, "", (MILLION // d, d)) for d in WIDTHS[primary])
    yield from (Case(function, "axis=()", (n,), {"axis": ()}) for n in (1000, MILLION))
    for name in [name for name in usual(function) if "log" in name and name != "logits"]:
        for layout, (shape, channels) in [*CHANNELS.items()][: 1 + primary]:
            changes = {"axis": (1, 2, 3), name: scale(name, channels)}
            yield Case(function, f"{layout}, {name} of channels", shape, changes)
        for shape in MAIN if primary else ():
            yield Case(function, f"{name} number", shape, {name: 0.3})
            yield Case(function, "axis=()", shape, {"axis": ()})


def regression(draw: Draw) -> tuple[Call, Call]:
    """A step of training by hand: y ~ N(Xw, e^Xv), by the gradients for w and v."""
    x, y, (w, v) = draw.normal(), draw.normal(draw.shape[0]), draw.normal(2, draw.shape[1], spread=0.1)

    def ours() -> Any:
        loss = fe.gaussian_nll_grad(y, x @ w, logvar=x @ v, axis=(), reduction="mean")
        return loss.value, x.T @ loss.mean, x.T @ loss.scale

    def theirs() -> Any:
        r, logvar = x @ w - y, x @ v
        precision = np.exp(-logvar)
        z2 = r**2 * precision
        value = 0.5 * (math.log(2 * math.pi) + logvar + z2).mean()
        return value, x.T @ (r * precision / len(y)), x.T @ (0.5 * (1 - z2) / len(y))

    return ours, theirs


def training(draw: Draw) -> tuple[Call, Call]:
    """The loss of a VAE's step: samples, the ELBO and its gradients, and back to the encoder's outputs."""
    x, recon, mean = draw.normal(), draw.normal(), of_latents(draw)
    logvar, grad_z = of_latents(draw), of_latents(draw)  # what comes back through the decoder
    rngs = [np.random.default_rng(1) for _ in range(2)]

    def ours() -> Any:
        z, eps = fe.reparameterize(mean, logvar=logvar, rng=rngs[0])
        wrt = ("recon", "z_mean", "z_scale")
        loss = fe.neg_elbo_grad(x, recon, mean, var=0.5, z_logvar=logvar, wrt=wrt)  # type: ignore[arg-type]
        back = fe.reparameterize_grad(grad_z, eps, logvar=logvar)
        return z, loss.value, loss.recon, loss.z_mean + back.mean, loss.z_scale + back.scale

    def theirs() -> Any:
        std, n = np.exp(0.5 * logvar), len(x)
        eps = rngs[1].standard_normal(mean.shape, dtype=mean.dtype.type)
        z, r, var = mean + std * eps, recon - x, std**2
        nll = 0.5 * (r**2 / 0.5 + math.log(2 * math.pi * 0.5)).sum(1)
        kl = 0.5 * (mean**2 + var - 1 - logvar).sum(1)
        d_logvar = 0.5 * (var - 1) / n + 0.5 * grad_z * eps * std
        return z, (nll + kl).mean(), r / 0.5 / n, mean / n + grad_z, d_logvar

    return ours, theirs


def uses() -> Iterator[Case]:
    """What new users did first."""
    shared: Args = {"logvar": ..., "std": 0.2}
    channels = shared | {"axis": (1, 2, 3), "std": scale("std", lambda s: s[-1:])}
    for name in PRIMARY[:2]:
        yield Case(name, "heat map, uint8, std number", (512, 28, 28), shared | PIXELS | {"axis": (1, 2)})
        yield Case(
            name, "heat map by pixel, uint8, std number", (512, 28, 28), PIXELS | shared | {"axis": ()}
        )
        yield Case(name, "rows, std number", (512, 784), shared, "Fortran")
        yield Case(name, "data frame, std number", (MILLION, 4), shared, "Fortran")
        yield Case(name, "NHWC, std of channels", (64, 32, 32, 3), channels)
        yield Case(name, "weight (N,), std number", MAIN[2], shared | ROWS)
    yield Case("regression", "a step by hand", (1024, 16), by_hand=regression)
    yield Case("training", "a VAE's loss, a step", (128, 64), by_hand=training)


def functions() -> list[str]:
    """The public functions that take arrays."""
    names = [name for name in fe.__all__ if inspect.isfunction(getattr(fe, name))]
    return sorted(set(names) - set(WITHOUT_ARRAYS))


def cases() -> list[Case]:
    """All, each once."""
    every = [*(case for function in functions() for case in of_function(function)), *uses()]
    return list({case.label: case for case in every}.values())
