"""Which gradients are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastelbo._declare import VALUES, Joint, Loss
from fastelbo._typing import Array


def asked_for(wrt: str | Iterable[str], loss: Loss | Joint, members: Mapping[str, Array]) -> tuple[str, ...]:
    """The gradients asked for, each once; `members` has those that there may be."""
    fields = loss.fields
    choices = ", ".join([repr(name) for name in fields if name not in VALUES])
    try:
        asked = (wrt,) if isinstance(wrt, str) else tuple(dict.fromkeys(wrt))
    except TypeError:
        raise TypeError(f"wrt must be one name or several of {choices}, not {wrt!r}") from None
    for name in asked:
        if name not in members:
            if name == "prior_scale" and name in fields:
                raise ValueError(
                    "wrt names 'prior_scale', but no prior scale was passed: pass prior_var=1.0, say"
                )
            hints = [
                f"; {scale.whose}'s gradient is '{scale.prefix}scale' whatever its form"
                for scale in loss.all_scales
                if name and name in scale.names
            ]
            alike = [repr(field) for field in loss.alike.get(name, ())]
            if not hints and name in [parameter.name for parameter in loss.parameters(grad=True)]:
                hints = [f"; {name} has no gradient"]
            hint = "".join(hints) + (f"; did you mean {' or '.join(alike)}?" if alike else "")
            raise ValueError(f"wrt must name some of {choices}, not {name!r}{hint}")
    return asked
