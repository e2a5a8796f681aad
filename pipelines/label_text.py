"""Label drawings as text, short enough to live in a workflow's JSON.

    atelier-labels:1:<base64 of a zlib stream>

Inside the zlib stream:

1. The header: one JSON object in UTF-8, without a line break inside, then one byte 0x0A.
   {"w": width, "h": height, "names": [...], "base": "" or 64 hex digits, "colours": [[r, g, b], ...] (optional)}
2. The runs, row by row from the top; a run never crosses the end of a row. Each run is 4 bytes, two unsigned 16-bit
   integers, least significant byte first: code, length. Length is 1 or more; the lengths of a row add up to w.
   code n >= 1 paints label n - 1. Code 0 leaves the pixels as they are in the base, and occurs only with a base.

`base` is `base_hash` of the label map that was painted on: SHA-256 in lower-case hex over the UTF-8 bytes of
"<w>x<h>\\n" followed by each name and "\\n", then the w * h label ids as bytes, row by row.

Reader and writer in a browser: DecompressionStream / CompressionStream("deflate"), DataView.getUint16(at, true),
crypto.subtle.digest("SHA-256", ...).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from .errors import InvalidInputError
from .labels import MAX_SIDE, LabelMap, LabelSet, require_same_labels

PREFIX = "atelier-labels:"
VERSION = "1"
MAX_TEXT_LENGTH = 2**20
MAX_HEADER_BYTES = 2**16
RUN_BYTES = 4
_SHA256_HEX_DIGITS = 64


class LabelTextError(InvalidInputError):
    """A label drawing's text cannot be read."""


@dataclass(frozen=True, eq=False)
class LabelDrawing:
    """What was painted on one map. ids: uint8 [H,W]; painted: bool [H,W], false where the base shows through.

    base: the `base_hash` of the map painted on, or "" when there was none; then every pixel is painted.
    """

    ids: Tensor
    painted: Tensor
    labels: LabelSet
    base: str = ""

    def __post_init__(self) -> None:
        if self.ids.ndim != 2 or max(self.ids.shape) > MAX_SIDE:
            raise InvalidInputError(
                f"A label drawing has ids [H,W], at most {MAX_SIDE} a side, got {list(self.ids.shape)}.")
        LabelMap(self.ids[None], self.labels)
        if self.painted.dtype != torch.bool or self.painted.shape != self.ids.shape:
            raise InvalidInputError(f"The painted mask of a label drawing is bool {list(self.ids.shape)}, got "
                                    f"{str(self.painted.dtype).removeprefix('torch.')} {list(self.painted.shape)}.")
        if not self.base and not bool(self.painted.all()):
            raise InvalidInputError("A label drawing without a base has every pixel painted, got unpainted ones.")
        if self.base and not _is_sha256(self.base):
            raise InvalidInputError(f"The base of a label drawing is a SHA-256 in hex, got '{self.base:.70}'.")


def base_hash(label_map: LabelMap) -> str:
    """The hash that ties a drawing to the map [1,H,W] it was painted on (byte layout: see the module)."""
    _require_single(label_map)
    head = f"{label_map.width}x{label_map.height}\n" + "".join(f"{name}\n" for name in label_map.labels.names)
    return hashlib.sha256(head.encode() + label_map.ids[0].cpu().contiguous().numpy().tobytes()).hexdigest()


def draw_on(drawing: LabelDrawing, base: LabelMap) -> tuple[LabelMap, Tensor]:
    """The base [1,H,W] with the drawing's painted pixels, and which pixels differ from it, bool [1,H,W].

    Whether the base is the very one the drawing was made on is the caller's question: base_hash(base) == drawing.base.
    """
    _require_single(base)
    require_same_labels(drawing.labels, base.labels, "The label drawing and the label map under it")
    if drawing.ids.shape != base.ids.shape[1:]:
        raise InvalidInputError(f"The label drawing is {_size(drawing.ids)} pixels and the label map under it "
                                f"{_size(base.ids[0])}; resize the map or start the drawing anew.")
    device = base.ids.device
    ids = torch.where(drawing.painted.to(device), drawing.ids.to(device), base.ids[0])[None]
    return LabelMap(ids, base.labels), ids != base.ids


def encode_label_map(label_map: LabelMap) -> str:
    """The text of a whole map [1,H,W], without a base."""
    _require_single(label_map)
    ids = label_map.ids[0].cpu()
    return encode_drawing(LabelDrawing(ids, torch.ones_like(ids, dtype=torch.bool), label_map.labels))


def decode_label_map(text: str) -> LabelMap:
    """The map [1,H,W] of a text without a base. Raises LabelTextError."""
    drawing = decode_drawing(text)
    if drawing.base:
        raise LabelTextError("This label drawing was made on top of a label map; connect that map as its base.")
    return LabelMap(drawing.ids[None], drawing.labels)


def encode_drawing(drawing: LabelDrawing) -> str:
    """The text form. Raises LabelTextError when it would be longer than the reader accepts."""
    height, width = drawing.ids.shape
    header = {"w": width, "h": height, **drawing.labels.to_json(), "base": drawing.base}
    codes = torch.where(drawing.painted, drawing.ids.int() + 1, 0).cpu().numpy().astype("<u2")
    starts = np.ones((height, width), dtype=bool)
    starts[:, 1:] = codes[:, 1:] != codes[:, :-1]
    at = np.flatnonzero(starts)
    runs = np.stack([codes.reshape(-1)[at], np.diff(at, append=height * width)], axis=1).astype("<u2")
    payload = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" + runs.tobytes()
    text = f"{PREFIX}{VERSION}:{base64.b64encode(zlib.compress(payload)).decode('ascii')}"
    if len(text) > MAX_TEXT_LENGTH:
        raise LabelTextError(f"The label map is too detailed for its text form: {len(text)} characters, at most "
                             f"{MAX_TEXT_LENGTH}; save it as a PNG instead.")
    return text


def decode_drawing(text: str) -> LabelDrawing:
    """The inverse of `encode_drawing`. Any text that is not a drawing raises LabelTextError.

    Sizes are checked before anything of that size is allocated.
    """
    data = _unwrap(text)
    stream = zlib.decompressobj()
    head = _inflate(stream.decompress, data, MAX_HEADER_BYTES)
    line, newline, rest = head.partition(b"\n")
    if not newline:
        raise LabelTextError(f"The label text has no header within its first {MAX_HEADER_BYTES} bytes; it is damaged.")
    width, height, labels, base = _read_header(line)
    limit = RUN_BYTES * width * height
    runs = rest + _inflate(stream.decompress, stream.unconsumed_tail, max(limit - len(rest), 0) + 1)
    if len(runs) > limit:
        raise LabelTextError(f"The label text holds more runs than its {width} x {height} pixels can have.")
    if not stream.eof or stream.unused_data:
        raise LabelTextError("The label text is cut off or has something after its end; copy the whole text.")
    codes = _expand(runs, width, height)
    highest = int(codes.max())
    if highest > len(labels):
        raise LabelTextError(f"The label text names {len(labels)} labels, ids 0 to {len(labels) - 1}, but uses id "
                             f"{highest - 1}.")
    painted = codes > 0
    if not base and not painted.all():
        raise LabelTextError("The label text leaves pixels to a base but names none; it is damaged.")
    ids = (np.maximum(codes, 1) - 1).astype(np.uint8)
    return LabelDrawing(torch.from_numpy(ids), torch.from_numpy(painted), labels, base)


def _unwrap(text: str) -> bytes:
    if len(text) > MAX_TEXT_LENGTH:
        raise LabelTextError(f"The label text has {len(text)} characters, at most {MAX_TEXT_LENGTH} are read.")
    if not text.startswith(PREFIX):
        raise LabelTextError(f"A label text begins with '{PREFIX}{VERSION}:', got {text[:24]!r}.")
    version, colon, body = text.removeprefix(PREFIX).partition(":")
    if not colon or version != VERSION:
        raise LabelTextError(
            f"The label text has version {version[:16]!r}, this pack reads version {VERSION}; update the pack.")
    try:
        return base64.b64decode(body.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise LabelTextError("The label text is not valid base64 after its prefix; copy the whole text.") from error


def _inflate(decompress: Callable[[bytes, int], bytes], data: bytes, limit: int) -> bytes:
    try:
        return decompress(data, limit)
    except zlib.error as error:
        raise LabelTextError("The label text is damaged: what it packs is no zlib stream.") from error


def _read_header(line: bytes) -> tuple[int, int, LabelSet, str]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LabelTextError("The header of the label text is not JSON; the text is damaged.") from error
    if not isinstance(header, Mapping):
        raise LabelTextError("The header of the label text is not a JSON object; the text is damaged.")
    fields = cast("Mapping[str, object]", header)
    width, height = _side(fields, "w"), _side(fields, "h")
    try:
        labels = LabelSet.from_json(fields)
    except InvalidInputError as error:
        raise LabelTextError(f"The labels in the label text are wrong: {error}") from error
    base = fields.get("base", "")
    if not isinstance(base, str) or (base and not _is_sha256(base)):
        raise LabelTextError(f"The base in the label text is a SHA-256 in hex or empty, got {base!r:.70}.")
    return width, height, labels, base


def _side(fields: Mapping[str, object], key: str) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SIDE:
        raise LabelTextError(f"The label text's {'width' if key == 'w' else 'height'} is an integer from 1 to "
                             f"{MAX_SIDE}, got {value!r:.40}.")
    return value


def _expand(data: bytes, width: int, height: int) -> np.ndarray:
    """The runs as codes uint16 [H,W]."""
    if len(data) % RUN_BYTES:
        raise LabelTextError("The label text ends in the middle of a run; copy the whole text.")
    runs = np.frombuffer(data, dtype="<u2").reshape(-1, 2)
    lengths = runs[:, 1].astype(np.int64)
    if lengths.sum() != width * height:
        raise LabelTextError(f"The label text covers {lengths.sum()} pixels, its {width} x {height} map has "
                             f"{width * height}.")
    ends = np.cumsum(lengths)
    row_ends = np.arange(1, height + 1) * width
    if not lengths.all() or not np.array_equal(ends[ends % width == 0], row_ends):
        raise LabelTextError(f"The label text has an empty run or one that crosses the end of a row of {width} pixels.")
    return np.repeat(runs[:, 0].astype(np.uint16), lengths).reshape(height, width)


def _require_single(label_map: LabelMap) -> None:
    if len(label_map) != 1:
        raise InvalidInputError(f"A label text holds one label map, got a batch of {len(label_map)}; pick a sample.")


def _is_sha256(text: str) -> bool:
    return len(text) == _SHA256_HEX_DIGITS and all(c in "0123456789abcdef" for c in text)


def _size(ids: Tensor) -> str:
    return f"{ids.shape[1]} x {ids.shape[0]}"
