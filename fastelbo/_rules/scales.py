"""Which of its forms a scale was passed in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastelbo._declare import Scale


def add_scale(names: list[str], passed: list[Any], scale: Scale, given: Mapping[str, Any]) -> int:
    """Append the scale that was passed to what is known of the call; its kind, or -1 without one.

    Exactly one form: std, variance and log-variance mixed up is the commonest bug in this field. A prior has
    at most one, and unit variance without.
    """
    found = [kind for kind, name in enumerate(scale.names) if name and given[name] is not None]
    if len(found) > 1 or not (found or not scale.required):
        choices = ", ".join([name for name in scale.names if name])
        got = " and ".join([scale.names[kind] for kind in found]) or "none of them"
        how_many = "exactly" if scale.required else "at most"
        raise TypeError(f"give {scale.whose} as {how_many} one of {choices}; got {got}")
    names += [scale.names[kind] for kind in found]
    passed += [given[scale.names[kind]] for kind in found]
    return found[0] if found else -1
