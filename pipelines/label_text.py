"""Label drawings as text, short enough to live in a workflow's JSON. web/painter/codec.js reads and writes the same, and
refuses what is wrong with the same sentences.

    atelier-labels:1:<base64 of a zlib stream>

Inside the zlib stream:

1. The header: one JSON object in UTF-8, without a line break inside, then one byte 0x0A.
   {"w": width, "h": height, "names": [...], "base": "" or 64 hex digits, "colours": [[r, g, b], ...] (optional)}
2. The pixels as variable-length integers (7 bits a byte, least significant first, the top bit says that more follow; at
   most 4 bytes): a count n, n gaps, n codes. Code k >= 1 paints label k - 1; code 0 leaves the pixel as it is in the base,
   and occurs only with a base. Pixels go row by row from the top. Most follow from those before: a pixel has the code of
   its left neighbour, or, at the beginning of a row and where the row above changes its code, that of the pixel above
   (above the first row every code is 0). Where one does not, the gap counts the pixels since the last such one, and the
   code is its own.

`base` is `base_hash` of the label map that was painted on: SHA-256 in lower-case hex over the UTF-8 bytes of
"<w>x<h>\\n" followed by each name and "\\n", then the w * h label ids as bytes, row by row.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from .errors import InvalidInputError
from .labels import MAX_SIDE, LabelMap, LabelSet, require_same_labels, shown

PREFIX = "atelier-labels:"
VERSION = "1"
MAX_TEXT_LENGTH = 2**20
MAX_HEADER_BYTES = 2**16
MAX_DEPTH = 8
BYTES_PER_PIXEL = 3
VARINT_BYTES = 4
DAMAGED = "The label text is damaged or cut off: what it packs is no whole zlib stream; copy the whole text."
NO_HEADER = "The header of the label text is no JSON object; the text is damaged."
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
    codes = torch.where(drawing.painted, drawing.ids.int() + 1, 0).cpu().numpy()
    payload = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode() + b"\n" + _pack(codes)
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
    if not newline and not stream.eof and len(head) < MAX_HEADER_BYTES:
        raise LabelTextError(DAMAGED)
    if not newline:
        raise LabelTextError(f"The label text has no header within its first {MAX_HEADER_BYTES} bytes; it is damaged.")
    width, height, labels, base = _read_header(line)
    limit = BYTES_PER_PIXEL * width * height + VARINT_BYTES
    pixels = rest + _inflate(stream.decompress, stream.unconsumed_tail, max(limit - len(rest), 0) + 1)
    if len(pixels) > limit:
        raise LabelTextError(f"The label text holds more than its {width} x {height} pixels can take.")
    if not stream.eof or stream.unused_data:
        raise LabelTextError(DAMAGED)
    codes = _unpack(pixels, width, height)
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
        raise LabelTextError(f"A label text begins with '{PREFIX}{VERSION}:', got {shown(text[:24])}.")
    version, colon, body = text.removeprefix(PREFIX).partition(":")
    if not colon or version != VERSION:
        raise LabelTextError(f"The label text has version {shown(version[:16])}, this pack reads version '{VERSION}'; "
                             f"update the pack.")
    if len(body) % 4 or not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", body):
        raise LabelTextError("The label text is not valid base64 after its prefix; copy the whole text.")
    try:
        return base64.b64decode(body)
    except binascii.Error as error:
        raise LabelTextError("The label text is not valid base64 after its prefix; copy the whole text.") from error


def _inflate(decompress: Callable[[bytes, int], bytes], data: bytes, limit: int) -> bytes:
    try:
        return decompress(data, limit)
    except zlib.error as error:
        raise LabelTextError(DAMAGED) from error


def _number(text: str) -> float:
    """A JSON number; a whole one is an int however it is written, as it is in JavaScript."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _depth(text: str) -> int:
    """How deep lists and objects stand in one another."""
    deepest = depth = 0
    quoted = escaped = False
    for character in text:
        if quoted:
            escaped, quoted = character == "\\" and not escaped, escaped or character != '"'
        elif character == '"':
            quoted = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _read_header(line: bytes) -> tuple[int, int, LabelSet, str]:
    try:
        text = line.decode()
        header = None if _depth(text) > MAX_DEPTH else json.loads(
            text, parse_int=_number, parse_float=_number, parse_constant=_no_constant)
    except (ValueError, OverflowError) as error:
        raise LabelTextError(NO_HEADER) from error
    if not isinstance(header, Mapping):
        raise LabelTextError(NO_HEADER)
    fields = cast("Mapping[str, object]", header)
    width, height = _side(fields, "w"), _side(fields, "h")
    try:
        labels = LabelSet.from_json(fields)
    except InvalidInputError as error:
        raise LabelTextError(f"The labels in the label text are wrong: {error}") from error
    base = fields.get("base", "")
    if not isinstance(base, str) or (base and not _is_sha256(base)):
        raise LabelTextError(f"The base in the label text is a SHA-256 in hex or empty, got {shown(base)}.")
    return width, height, labels, base


def _side(fields: Mapping[str, object], key: str) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_SIDE:
        raise LabelTextError(f"The label text's {'width' if key == 'w' else 'height'} is an integer from 1 to "
                             f"{MAX_SIDE}, got {shown(value)}.")
    return value


def _pack(codes: np.ndarray) -> bytes:
    """Codes int [H,W] as variable-length integers: count, gaps, codes (see the module)."""
    above = np.zeros_like(codes)
    above[1:] = codes[:-1]
    expected = above.copy()
    carried = above[:, 1:] == above[:, :-1]
    expected[:, 1:][carried] = codes[:, :-1][carried]
    at = np.flatnonzero(codes != expected)
    return _varint_bytes(np.concatenate([[len(at)], np.diff(at, prepend=-1) - 1, codes.reshape(-1)[at]]))


def _unpack(data: bytes, width: int, height: int) -> np.ndarray:
    """The inverse of `_pack`: codes [H,W]. Raises LabelTextError."""
    values = _varints(data)
    count = int(values[0]) if len(values) else -1
    if len(values) != 1 + 2 * count:
        raise LabelTextError("The label text does not hold as many pixels as it says; copy the whole text.")
    at, own = np.cumsum(values[1:1 + count] + 1) - 1, values[1 + count:]
    if count and at[-1] >= width * height:
        raise LabelTextError(f"The label text paints outside its {width} x {height} pixels.")
    codes = np.zeros((height + 1, width), dtype=np.int64)
    rows = np.searchsorted(at, np.arange(height + 1) * width)
    columns = np.arange(width)
    for y in range(height):
        row = codes[y].copy()
        decided = np.ones(width, dtype=bool)
        decided[1:] = row[1:] != row[:-1]
        these = at[rows[y]:rows[y + 1]] - y * width
        row[these], decided[these] = own[rows[y]:rows[y + 1]], True
        codes[y + 1] = row[np.maximum.accumulate(np.where(decided, columns, 0))]
    return codes[1:]


def _varint_bytes(values: np.ndarray) -> bytes:
    shifts = np.arange(0, 7 * VARINT_BYTES, 7)
    groups = values[:, None] >> shifts
    used = (groups > 0) | (shifts == 0)
    more = np.zeros_like(used)
    more[:, :-1] = used[:, 1:]
    return ((groups & 127) | (more * 128))[used].astype(np.uint8).tobytes()


def _varints(data: bytes) -> np.ndarray:
    raw = np.frombuffer(data, dtype=np.uint8).astype(np.int64)
    ends = np.flatnonzero(raw < 128)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else np.zeros(0, dtype=np.int64)
    if (len(raw) and raw[-1] >= 128) or (len(ends) and int((ends - starts).max()) >= VARINT_BYTES):
        raise LabelTextError("The label text ends in the middle of a number, or has one that is too long; copy the whole text.")
    number = np.repeat(np.arange(len(ends)), ends - starts + 1)
    values = np.zeros(len(ends), dtype=np.int64)
    np.add.at(values, number, (raw & 127) << (7 * (np.arange(len(raw)) - starts[number])))
    return values


def _require_single(label_map: LabelMap) -> None:
    if len(label_map) != 1:
        raise InvalidInputError(f"A label text holds one label map, got a batch of {len(label_map)}; pick a sample.")


def _is_sha256(text: str) -> bool:
    return len(text) == _SHA256_HEX_DIGITS and all(c in "0123456789abcdef" for c in text)


def _size(ids: Tensor) -> str:
    return f"{ids.shape[1]} x {ids.shape[0]}"
