"""Which of the five forms a scale was passed in."""

from __future__ import annotations

from typing import Any, Final

SCALES: Final = ("var", "std", "logvar", "logstd", "precision")
WHOSE: Final = {"": "the scale", "z_": "the latents' scale", "prior_": "the prior's scale"}


def add_scale(names: list[str], passed: list[Any], scales: tuple[Any, ...], prefix: str = "") -> int:
    """Append the scale that was passed to what is known of the call; its kind, or -1 without one.

    Exactly one form: std, variance and log-variance mixed up is the commonest bug in this field. A prior has
    at most one, and unit variance without.
    """
    found = [kind for kind, scale in enumerate(scales) if scale is not None]
    optional = prefix == "prior_"
    if len(found) > 1 or not (found or optional):
        choices = [prefix + name for name in SCALES]
        got = " and ".join([choices[kind] for kind in found]) or "none of them"
        how_many = "at most" if optional else "exactly"
        raise TypeError(f"give {WHOSE[prefix]} as {how_many} one of {', '.join(choices)}; got {got}")
    names += [prefix + SCALES[kind] for kind in found]
    passed += [scales[kind] for kind in found]
    return found[0] if found else -1
