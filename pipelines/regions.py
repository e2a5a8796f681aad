"""Moving, resizing and removing labelled parts of a label map.

The selected labels together are the region: it is transformed as one, so that a hub stays inside its tyre. Edges stay
crisp (nearest neighbour), pixels the region leaves behind take the nearest label outside the region, and pixels it
comes to cover are overwritten.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .errors import InvalidInputError
from .labels import LabelMap
from .mask_geometry import FAR, BoolMask, Integers, components, nearest_true

Operation = Literal["grow", "shrink", "scale", "move", "relabel", "remove"]
Anchor = Literal["component", "region"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
ANCHORS: tuple[Anchor, ...] = get_args(Anchor)

MAX_PIXELS = 4096.0
MIN_FACTOR, MAX_FACTOR = 0.01, 100.0

Ids = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Settings:
    pixels: float
    factor: float
    offset: tuple[int, int]
    target: int
    anchor: Anchor


def select(label_map: LabelMap, names: Iterable[str]) -> Tensor:
    """Where the map has one of the labels: bool [B,H,W]. Unknown names raise InvalidInputError."""
    lookup = torch.zeros(256, dtype=torch.bool, device=label_map.ids.device)
    lookup[list(label_map.labels.indices(names))] = True
    return lookup[label_map.ids.long()]


def transform_region(label_map: LabelMap, names: Iterable[str], *, operation: Operation, pixels: float = 0.0,
                     factor: float = 1.0, offset: tuple[float, float] = (0.0, 0.0), to: str | None = None,
                     anchor: Anchor = "component") -> tuple[LabelMap, Tensor]:
    """The map with the region of `names` transformed, and which pixels changed, bool [B,H,W].

    operation:
        grow     the region gains every pixel at most `pixels` (0..4096) away, with the label nearest to it
        shrink   the region loses every pixel at most `pixels` away from what is not the region
        scale    by `factor` (0.01..100) about the centroid of each connected component of the region, or of the whole
                 region with anchor 'region'; its area changes by factor squared
        move     by `offset` (right, down) in pixels, rounded; what leaves the picture is cut off
        relabel  every pixel of the region becomes `to`
        remove   every pixel of the region takes the nearest label outside it

    Each sample of the batch by itself; one without the region stays as it is. The argument is not changed. Raises
    InvalidInputError for a value out of range, an unknown name, or when nothing is left to fill the vacated pixels.
    """
    names = tuple(names)
    if not names:
        raise InvalidInputError("Transforming a region needs at least one label name, got none.")
    selected = list(label_map.labels.indices(names))
    if operation not in OPERATIONS:
        raise InvalidInputError(f"The operation is one of {', '.join(OPERATIONS)}, got '{operation}'.")
    if anchor not in ANCHORS:
        raise InvalidInputError(f"The anchor is one of {', '.join(ANCHORS)}, got '{anchor}'.")
    _require_range("pixels", pixels, 0.0, MAX_PIXELS)
    _require_range("factor", factor, MIN_FACTOR, MAX_FACTOR)
    for value in offset:
        _require_range("offset", value, -MAX_PIXELS, MAX_PIXELS)
    if operation == "relabel" and to is None:
        raise InvalidInputError("Relabelling a region needs the name of the label it becomes, got none.")
    settings = _Settings(pixels, factor, (round(offset[0]), round(offset[1])),
                         label_map.labels.index(to) if operation == "relabel" and to is not None else 0, anchor)
    samples = [_transform(sample, np.isin(sample, selected), operation, settings)
               for sample in label_map.ids.cpu().numpy()]
    ids = torch.from_numpy(np.stack(samples)).to(label_map.ids.device)
    return LabelMap(ids, label_map.labels), ids != label_map.ids


def _transform(ids: Ids, region: BoolMask, operation: Operation, settings: _Settings) -> Ids:
    if not region.any():
        return ids
    if operation == "relabel":
        return np.where(region, np.uint8(settings.target), ids)
    if operation == "remove":
        return fill_vacated(ids, region, region)
    if operation == "grow":
        return _grow(ids, region, settings.pixels)
    if operation == "shrink":
        return fill_vacated(ids, region, _within(~region, region, settings.pixels))
    painted = _scaled(ids, region, settings) if operation == "scale" else _moved(ids, region, settings.offset)
    covered = painted >= 0
    return np.where(covered, painted.astype(np.uint8), fill_vacated(ids, region, region & ~covered))


def fill_vacated(ids: Ids, region: BoolMask, vacated: BoolMask) -> Ids:
    """The ids with each vacated pixel of the region filled by the nearest label outside the region."""
    if not vacated.any():
        return ids
    distance, source = nearest_true(~region, vacated)
    if distance[0] >= FAR:
        raise InvalidInputError("The selected labels cover the whole picture, so nothing is left to fill the pixels "
                                "they leave; select fewer labels.")
    filled = ids.copy()
    filled[vacated] = ids.reshape(-1)[source]
    return filled


def _within(seeds: BoolMask, query: BoolMask, pixels: float) -> BoolMask:
    """The pixels of `query` at most `pixels` away from a seed."""
    near = _window(seeds, query, pixels)
    inside = np.zeros_like(near)
    inside[near] = nearest_true(seeds, near)[0] <= pixels * pixels
    return inside


def _grow(ids: Ids, region: BoolMask, pixels: float) -> Ids:
    near = _window(region, ~region, pixels)
    distance, source = nearest_true(region, near)
    reached = distance <= pixels * pixels
    grown = ids.copy()
    grown.reshape(-1)[np.flatnonzero(near)[reached]] = ids.reshape(-1)[source[reached]]
    return grown


def _window(seeds: BoolMask, query: BoolMask, pixels: float) -> BoolMask:
    """The pixels of `query` in the square reach of a seed: few enough to measure exactly."""
    reach = math.floor(pixels)
    window: BoolMask = seeds
    for axis in (0, 1):
        counts = np.cumsum(window, axis=axis, dtype=np.int64)
        counts = np.insert(counts, 0, 0, axis=axis)
        size: int = seeds.shape[axis]
        at = np.arange(size)
        before = np.take(counts, np.maximum(at - reach, 0), axis=axis)
        window = np.take(counts, np.minimum(at + reach + 1, size), axis=axis) > before
    return window & query


def _moved(ids: Ids, region: BoolMask, offset: tuple[int, int]) -> npt.NDArray[np.int16]:
    """The region at its new place: int16 [H,W], -1 where it is not."""
    height, width = ids.shape
    painted = np.full(ids.shape, -1, dtype=np.int16)
    y, x = np.nonzero(region)
    to_x, to_y = x + offset[0], y + offset[1]
    kept = (to_x >= 0) & (to_x < width) & (to_y >= 0) & (to_y < height)
    painted[to_y[kept], to_x[kept]] = ids[y[kept], x[kept]]
    return painted


def _scaled(ids: Ids, region: BoolMask, settings: _Settings) -> npt.NDArray[np.int16]:
    """The region at its new size: int16 [H,W], -1 where it is not. Larger components lie on top of smaller ones."""
    parts, count = components(region) if settings.anchor == "component" else (region.astype(np.int64), 1)
    painted = np.full(ids.shape, -1, dtype=np.int16)
    for part, box in _boxes_by_size(parts, count):
        _scale_part(ids, parts, part, box, settings.factor, painted)
    return painted


Box = tuple[int, int, int, int]


def _boxes_by_size(parts: Integers, count: int) -> list[tuple[int, Box]]:
    """(number, (top, bottom, left, right) inclusive) of every part, the smallest first."""
    y, x = np.nonzero(parts)
    number = parts[y, x] - 1
    sizes = np.bincount(number, minlength=count)
    low: Integers = np.full((2, count), max(parts.shape))
    high: Integers = np.full((2, count), -1)
    for axis, values in enumerate((y, x)):
        np.minimum.at(low[axis], number, values)
        np.maximum.at(high[axis], number, values)
    order: list[int] = np.argsort(sizes, kind="stable").tolist()
    return [(i + 1, (int(low[0, i]), int(high[0, i]), int(low[1, i]), int(high[1, i])))
            for i in order]


def _scale_part(ids: Ids, parts: Integers, part: int, box: Box, factor: float,
                painted: npt.NDArray[np.int16]) -> None:
    """Paint one part, scaled about its centroid, into `painted`."""
    top, bottom, left, right = box
    inside = parts[top : bottom + 1, left : right + 1] == part
    y, x = np.nonzero(inside)
    centre_y, centre_x = top + float(y.mean()), left + float(x.mean())
    rows, from_y = _sources(centre_y, factor, top, bottom, painted.shape[0])
    columns, from_x = _sources(centre_x, factor, left, right, painted.shape[1])
    window = np.ix_(rows, columns)
    hit = inside[np.ix_(from_y - top, from_x - left)]
    painted[window] = np.where(hit, ids[np.ix_(from_y, from_x)], painted[window])


def _sources(centre: float, factor: float, low: int, high: int, size: int) -> tuple[Integers, Integers]:
    """Along one axis: the target coordinates whose nearest source lies in low..high, and those sources."""
    target = np.arange(size)
    source = np.floor(centre + (target - centre) / factor + 0.5).astype(np.int64)
    kept = (source >= low) & (source <= high)
    return target[kept], source[kept]


def _require_range(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also false for NaN
        raise InvalidInputError(f"The {what} of a region's transformation is from {low:g} to {high:g}, got {value:g}.")
