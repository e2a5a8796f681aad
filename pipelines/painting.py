"""A drawing of the label painter, laid on the label map it was painted on, on another one, or on a blank one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from .errors import InvalidInputError
from .label_text import LabelDrawing, base_hash, decode_drawing, draw_on
from .labels import MAX_SIDE, LabelMap, LabelSet

WhenChanged = Literal["refuse", "re-apply", "start anew"]
WHEN_CHANGED: tuple[WhenChanged, ...] = get_args(WhenChanged)


class BaseChangedError(InvalidInputError):
    """A drawing was made on another label map than the one under it now."""


@dataclass(frozen=True, eq=False)
class Painted:
    """What came of it. base: the map under the drawing. changed: bool [1,H,W], where the two differ. edited: the names of
    the labels that were there or are there now, in the order of their ids."""

    label_map: LabelMap
    base: LabelMap
    changed: Tensor
    edited: tuple[str, ...]


def paint(text: str, base: LabelMap | None, blank: LabelMap, when_changed: WhenChanged = "refuse") -> Painted:
    """The label map that a drawing's text makes of the map under it.

    text: the painter's value, '' for nothing painted yet. base: [1,H,W]; without one the drawing is on `blank`, or on a blank
    map of its own size and labels. when_changed: what happens to a drawing that was made on another map: BaseChangedError,
    its pixels painted on the new map, or nothing painted. Raises LabelTextError for a text that is no drawing.
    """
    under = blank if base is None else base
    if not text:
        return _result(under, under)
    drawing = decode_drawing(text)
    if base is None and not drawing.base:
        under = LabelMap(torch.zeros_like(drawing.ids[None]), drawing.labels)
        return _result(LabelMap(drawing.ids[None], drawing.labels), under)
    fault = _difference(drawing, base)
    if fault is not None and when_changed == "refuse":
        raise BaseChangedError(f"The drawing was made on another label map: {fault}. Choose 're-apply' to paint the same "
                               f"pixels on the map that is there now, or 'start anew' to drop the drawing.")
    if when_changed == "start anew" and fault is not None:
        return _result(under, under)
    if base is None:
        raise BaseChangedError(f"The drawing cannot be re-applied: {fault}.")
    return _result(draw_on(drawing, base)[0], base)


def _difference(drawing: LabelDrawing, base: LabelMap | None) -> str | None:
    """Why the drawing does not belong to the map, as a clause."""
    if base is None:
        return "that map is no longer connected"
    if drawing.base == base_hash(base):
        return None
    if not drawing.base:
        return "it was painted without a map under it"
    if drawing.labels.names != base.labels.names:
        return "that one had other parts"
    height, width = drawing.ids.shape
    if (height, width) != (base.height, base.width):
        return f"that one had {width} x {height} pixels, this one has {base.width} x {base.height}"
    return "its labels lie elsewhere now"


def _result(label_map: LabelMap, base: LabelMap) -> Painted:
    changed = label_map.ids != base.ids
    ids = cast("list[int]", torch.cat([label_map.ids[changed], base.ids[changed]]).unique().tolist())
    return Painted(label_map, base, changed, tuple(base.labels.names[i] for i in ids))


def blank_map(labels: LabelSet, width: int, height: int) -> LabelMap:
    """A map of label 0, [1,H,W]."""
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InvalidInputError(f"A label map has 1 to {MAX_SIDE} pixels a side, got {width} x {height}.")
    return LabelMap(torch.zeros(1, height, width, dtype=torch.uint8), labels)
