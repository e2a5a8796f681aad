"""Label maps as PNG files that any paint program opens.

Written: an indexed PNG (mode P), the pixel is the label id, the palette the label colours, the label set as JSON in the
text chunk `atelier.labels`. Read: such a file, or any PNG that has exactly the colours of a given label set.
"""

from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from .errors import InvalidInputError
from .labels import MAX_SIDE, LabelMap, LabelSet, from_colours, require_same_labels

TEXT_KEY = "atelier.labels"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError, zlib.error,
               Image.DecompressionBombError)


class LabelPictureError(InvalidInputError):
    """A picture cannot be read as a label map."""


def to_png(label_map: LabelMap) -> bytes:
    """The indexed PNG of a label map [1,H,W]."""
    if len(label_map) != 1:
        raise InvalidInputError(f"A PNG holds one label map, got a batch of {len(label_map)}; pick a sample.")
    image = Image.fromarray(label_map.ids[0].cpu().numpy())
    image.putpalette([value for colour in label_map.labels.colours for value in colour])
    info = PngImagePlugin.PngInfo()
    info.add_itxt(TEXT_KEY, json.dumps(label_map.labels.to_json(), ensure_ascii=False))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", pnginfo=info, optimize=False)
    return buffer.getvalue()


def from_png(data: bytes, labels: LabelSet | None = None, *, by_index: bool = False,
             where: str = "The label picture") -> LabelMap:
    """The label map [1,H,W] in a PNG file's bytes.

    labels: what the pixels mean; None takes the label set the file carries. by_index: the pixels of an indexed PNG
    are label ids whatever its palette says; otherwise a file not written by this pack, whose palette may have been
    reordered by a paint program, is read by colour. where: the beginning of the sentence of an error.

    Raises LabelPictureError (not a PNG, damaged, too large, transparent, no label set), InvalidInputError (colours of
    no label) or LabelSetMismatchError (the file names other parts than `labels`).
    """
    image = _open(data, where)
    carried = _carried_labels(image, where)
    if carried is not None and labels is not None:
        require_same_labels(carried, labels, f"{where} and the labels asked for")
    known = labels or carried
    if known is None:
        raise LabelPictureError(f"{where} says nothing about its labels; choose the label set it was painted with.")
    if image.mode == "P" and (by_index or _is_own_palette(image, carried or known)):
        return _from_indices(torch.from_numpy(np.array(image)), known, where)
    if by_index:
        raise LabelPictureError(f"{where} is no indexed PNG (its mode is {image.mode}); read it by colour.")
    return from_colours(_rgb(image, where), carried or known, where=where)


def _open(data: bytes, where: str) -> Image.Image:
    if not data.startswith(_SIGNATURE) or data[12:16] != b"IHDR" or len(data) < 24:
        raise LabelPictureError(f"{where} is not a readable PNG file: it does not begin like one.")
    width, height = struct.unpack(">II", data[16:24])  # before Pillow allocates anything
    if max(width, height) > MAX_SIDE:
        raise LabelPictureError(f"{where} is {width} x {height} pixels, at most {MAX_SIDE} a side are read.")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.size != (width, height):
                raise OSError("it states its size twice")
            image.load()
            return image
    except _UNREADABLE as error:
        raise LabelPictureError(f"{where} is not a readable PNG file: {str(error) or type(error).__name__}.") from error


def _carried_labels(image: Image.Image, where: str) -> LabelSet | None:
    text = image.info.get(TEXT_KEY)
    if text is None:
        return None
    try:
        return LabelSet.from_json(json.loads(str(text)))
    except (ValueError, RecursionError) as error:
        raise LabelPictureError(f"{where} carries a damaged label set in '{TEXT_KEY}': {error}") from error


def _is_own_palette(image: Image.Image, labels: LabelSet) -> bool:
    palette = image.getpalette() or []
    return palette[: 3 * len(labels)] == [value for colour in labels.colours for value in colour]


def _from_indices(ids: Tensor, labels: LabelSet, where: str) -> LabelMap:
    outside = ids.int() >= len(labels)  # 256 does not fit into uint8
    if bool(outside.any()):
        y, x = (int(v) for v in outside.nonzero()[0])
        raise LabelPictureError(f"{where} has {int(outside.sum())} pixels of no label, the first at x {x}, y {y} with "
                                f"index {int(ids[y, x])}; the {len(labels)} labels are 0 to {len(labels) - 1}.")
    return LabelMap(ids[None], labels)


def _rgb(image: Image.Image, where: str) -> Tensor:
    if image.mode not in ("P", "RGB", "RGBA", "L", "LA", "1"):
        raise LabelPictureError(f"{where} has mode {image.mode}; save it as an 8-bit RGB or indexed PNG.")
    pixels = torch.from_numpy(np.array(image.convert("RGBA")))
    transparent = pixels[..., 3] != 255
    if bool(transparent.any()):
        raise LabelPictureError(f"{where} has {int(transparent.sum())} transparent pixels; fill them with the colour "
                                f"of a label.")
    return pixels[None, ..., :3]
