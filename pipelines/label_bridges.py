"""Between label maps and what other packs speak: masks, coloured pictures, detected segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import InvalidInputError
from .labels import LabelMap, LabelSet
from .mask_geometry import components
from .regions import fill_vacated, select

MaskEdit = Literal["paint", "erase", "keep"]


class Segment(NamedTuple):
    """One segment of a SEGS value, with the field names of ComfyUI-Impact-Pack.

    cropped_image: float [1,h,w,3] or None. cropped_mask: float [h,w] 0..1. crop_region, bbox: x1, y1, x2, y2 in pixels,
    the right and lower ends excluded.
    """

    cropped_image: Any
    cropped_mask: Any
    confidence: Any
    crop_region: Any
    bbox: Any
    label: Any
    control_net_wrapper: Any


Segments = tuple[tuple[int, int], list[Segment]]
"""(height, width) of the picture, and what was found in it."""


def parts_mask(label_map: LabelMap, names: Iterable[str]) -> Tensor:
    """float32 [B,H,W], 1 where the pixel is one of the named parts."""
    return select(label_map, names).float()


def edit_by_mask(label_map: LabelMap, mask: Tensor, part: str, operation: MaskEdit) -> LabelMap:
    """Change one part by a mask float [B or 1,H,W], which counts where it is above 0.5.

    paint: the mask becomes the part (union). erase: the part leaves the mask (difference). keep: the part leaves all
    but the mask (intersection). Pixels that a part leaves take the nearest other label.
    """
    if tuple(mask.shape[1:]) != (label_map.height, label_map.width) or len(mask) not in (1, len(label_map)):
        raise InvalidInputError(f"The mask is {list(mask.shape)}, the label map {list(label_map.ids.shape)} (pictures, "
                                f"height, width); give a mask of the same size.")
    index = label_map.labels.index(part)
    inside = (mask > 0.5).to(label_map.ids.device).expand_as(label_map.ids)
    if operation == "paint":
        return LabelMap(torch.where(inside, torch.tensor(index, dtype=torch.uint8), label_map.ids), label_map.labels)
    own = label_map.ids == index
    vacated = own & (inside if operation == "erase" else ~inside)
    filled = [fill_vacated(ids.cpu().numpy(), o.cpu().numpy(), v.cpu().numpy())
              for ids, o, v in zip(label_map.ids, own, vacated, strict=True)]
    return LabelMap(torch.from_numpy(np.stack(filled)).to(label_map.ids.device), label_map.labels)


def nearest_labels(image: Tensor, labels: LabelSet, *, cap: float = 48.0) -> tuple[LabelMap, Tensor]:
    """The label of the nearest colour, for pictures that were antialiased, compressed or colour-managed.

    image float [B,H,W,3] 0..1. cap: Euclidean distance in 8-bit colour beyond which a pixel matches nothing; such pixels
    become background. Returns the map and the bool mask [B,H,W] of pixels that match nothing.
    """
    if image.ndim != 4 or image.shape[3] != 3:
        raise InvalidInputError(f"A label picture is an RGB image [B,H,W,3], got {list(image.shape)}.")
    palette = labels.palette().float().to(image.device)
    pixels = (image.float() * 255).round().flatten(0, 2)
    colours, inverse = cast("tuple[Tensor, Tensor]", torch.unique(pixels, dim=0, return_inverse=True))
    distance, nearest = torch.cdist(colours, palette).min(dim=1)
    unmatched = (distance > cap)[inverse].view(image.shape[:3])
    ids = nearest[inverse].view(image.shape[:3]).to(torch.uint8)
    return LabelMap(torch.where(unmatched, torch.zeros_like(ids), ids), labels), unmatched


def to_segments(label_map: LabelMap, names: Sequence[str], image: Tensor | None = None, *, padding: int = 8,
                separate: bool = True) -> Segments:
    """The named parts of a label map [1,H,W] as SEGS, one segment per part, or per connected piece of it.

    image: float [1,H,W,3], whose crops the segments carry. padding: pixels of the crop around the box.
    """
    if len(label_map) != 1:
        raise InvalidInputError(f"SEGS describe one picture, got a batch of {len(label_map)} label maps; pick one.")
    if image is not None and tuple(image.shape[1:3]) != (label_map.height, label_map.width):
        raise InvalidInputError(f"The picture has {list(image.shape[1:3])} pixels (height, width), the label map "
                                f"{[label_map.height, label_map.width]}; give the picture the map belongs to.")
    found: list[Segment] = []
    for name in names:
        whole = select(label_map, [name])[0].cpu().numpy()
        numbers, count = components(whole) if separate else (whole.astype(np.int64), 1)
        for piece in range(1, count + 1):
            mask = numbers == piece
            rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
            if not len(rows):
                continue
            x1, y1, x2, y2 = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
            left, top = max(x1 - padding, 0), max(y1 - padding, 0)
            right, bottom = min(x2 + padding, label_map.width), min(y2 + padding, label_map.height)
            crop = None if image is None else image[:1, top:bottom, left:right, :3].clone()
            found.append(Segment(crop, mask[top:bottom, left:right].astype(np.float32), 1.0, [left, top, right, bottom],
                                 [x1, y1, x2, y2], name, None))
    return (label_map.height, label_map.width), found


def from_segments(segments: Any, label_map: LabelMap, *, part: str = "") -> tuple[LabelMap, int]:
    """Paint SEGS into a label map [1,H,W], later segments over earlier ones.

    part: what all segments become; empty: each the part its label names, others are left out. Returns the map and how
    many segments were painted. Where the picture of the SEGS has another size, their masks are scaled.
    """
    if len(label_map) != 1:
        raise InvalidInputError(f"SEGS describe one picture, got a batch of {len(label_map)} label maps; pick one.")
    try:
        (height, width), items = segments
        size = int(height), int(width)
        pieces = [(torch.as_tensor(s.cropped_mask).float(), [int(v) for v in s.crop_region], str(s.label)) for s in items]
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidInputError(f"The segs input holds no SEGS ({error}); connect a SEGS output of Impact Pack.") from error
    ids, painted = label_map.ids.clone(), 0
    for mask, (left, top, right, bottom), label in pieces:
        name = part or label
        if name not in label_map.labels.names:
            continue
        mask = mask.reshape(mask.shape[-2:])
        if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]) or mask.shape != (bottom - top, right - left):
            raise InvalidInputError(f"A segment '{label:.40}' has a mask {list(mask.shape)} for the region "
                                    f"{[left, top, right, bottom]} of a picture of {size[1]}x{size[0]} pixels, which does "
                                    f"not fit.")
        whole = torch.zeros(size)
        whole[top:bottom, left:right] = mask
        if size != (label_map.height, label_map.width):
            whole = F.interpolate(whole[None, None], (label_map.height, label_map.width), mode="bilinear",
                                  align_corners=False)[0, 0]
        ids[0, (whole > 0.5).to(ids.device)] = label_map.labels.index(name)
        painted += 1
    return LabelMap(ids, label_map.labels), painted
