"""The forms of a scale at 60 digits: from one table row log σ², its slope, and every power of σ²."""

import numpy as np

from digits import mp, mpf  # of 60 digits

#: name: (is σ² a power of raw, or an exponential of it; k)
SCALES = {
    "var": ("power", 1),
    "std": ("power", 2),
    "logvar": ("exp", 1),
    "logstd": ("exp", 2),
    "precision": ("power", -1),
}
#: of Laplace and Student's t: their scale stands where σ does, but is not the standard deviation
FORMS = SCALES | {"scale": SCALES["std"], "logscale": SCALES["logstd"]}
LINEAR = tuple(name for name, (kind, _) in SCALES.items() if kind == "power")
LOG = tuple(name for name, (kind, _) in SCALES.items() if kind == "exp")


def raw_of(name: str, logvar):
    """Float64 array of the scale's argument for a given log σ²: for making inputs, never for checking."""
    kind, k = FORMS[name]
    with np.errstate(over="ignore", under="ignore"):
        return np.exp(np.asarray(logvar) / k) if kind == "power" else np.asarray(logvar) / k


def logvar(name: str, raw: mpf) -> mpf:
    kind, k = FORMS[name]
    return k * (mp.log(raw) if kind == "power" else raw)


def var(name: str, raw: mpf, power: int = 1) -> mpf:
    kind, k = FORMS[name]
    return raw ** (k * power) if kind == "power" else mp.exp(k * power * raw)


def slope(name: str, raw: mpf, power: int = 0) -> mpf:
    """(d log σ² / d raw)·(σ²)^power, as one power of raw, so that it has a limit where the product has."""
    kind, k = FORMS[name]
    if kind == "power":
        exponent = k * power - 1
        return k * raw**exponent if exponent else mpf(k)  # mpmath's versions differ on nan⁰
    return k * mp.exp(k * power * raw) if power or mp.isnan(raw) else mpf(k)
