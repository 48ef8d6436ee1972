"""What broadcasts to the shape of the data, and how what does not could be made to."""

from __future__ import annotations

from fastelbo._rules.frames import Frame, with_events
from fastelbo._typing import Array, Shape


def check_fits(name: str, array: Array, frame: Frame) -> None:
    """NumPy's broadcasting, but never beyond the data's shape: a scale must not add rows to the loss."""
    own, shape = array.shape, frame.shape
    if own == shape or not own or fits(own, shape):
        return
    if own == frame.rows:
        way_out = f"one for each row is np.reshape({name}, {with_events(own, frame)})"
        way_out += f", as {own} is one for each element of the last axis" if len(own) == 1 else ""
    elif placed := placements(own, shape):
        trimmed = [fit[next((i for i, n in enumerate(fit) if n != 1), 0) :] for fit in placed]
        way_out = " or ".join([f"np.reshape({name}, {fit})" for fit in trimmed])
        axes = [str(i) for i, n in enumerate(placed[0]) if n != 1 and len(placed) == 1]
        along = f"along ax{'is' if len(axes) == 1 else 'es'} {', '.join(axes)} of them" if axes else ""
        way_out = f"{along or 'with size-1 axes'} it is {way_out}"
    elif len(own) > len(shape) or fits(shape, own):
        verb = "are" if " and " in frame.data else "is"
        way_out = f"{frame.data} {verb} not broadcast to {name}; if you mean that, use np.broadcast_to"
    else:
        rows = with_events(frame.rows, frame)
        way_out = f"a scalar, {shape[-1:]}, {rows} or {shape} would, for example"
    raise ValueError(
        f"{name} has shape {own}, which does not broadcast to {shape}, the shape of {frame.data}: {way_out}"
    )


def fits(own: Shape, shape: Shape) -> bool:
    """Whether `own` broadcasts to exactly `shape`."""
    return len(own) <= len(shape) and all(
        n in (1, m) for n, m in zip(reversed(own), reversed(shape), strict=False)
    )


def placements(own: Shape, shape: Shape) -> list[Shape]:
    """`own` with size-1 axes put in, so that it broadcasts to `shape`: as far behind, and as far ahead, as
    its sizes let it. One shape where that is the same, none where it is impossible."""
    if len(own) >= len(shape):
        return []
    behind, ahead = _leftmost(own[::-1], shape[::-1]), _leftmost(own, shape)
    return list(dict.fromkeys((behind[::-1], ahead))) if behind and ahead else []


def _leftmost(own: Shape, shape: Shape) -> Shape:
    sizes = list(own)
    placed = tuple([sizes.pop(0) if sizes and sizes[0] in (1, n) else 1 for n in shape])
    return () if sizes else placed
