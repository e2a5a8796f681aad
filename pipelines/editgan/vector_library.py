"""The library of edit vectors: what lies in the folders, and which of it fits a question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..errors import InvalidInputError
from .vectors import EditVector, load_thumbnail, load_vector


@dataclass(frozen=True)
class Entry:
    """file: its name in the library. vector: what it holds. thumbnail: uint8 [H,W,3] or None."""

    file: str
    vector: EditVector
    thumbnail: Tensor | None


def read_library(files: Iterable[tuple[str, Path]], *, part: str = "", tag: str = "", edit_type: str = "",
                 fingerprint: str = "") -> list[Entry]:
    """The vectors of (name, path) pairs that fit, in the order of their names. Files that cannot be read are left out.

    part: edits this part. tag: carries this tag, or has it in its name. edit_type: made this way. fingerprint: belongs
    to this generator, or says nothing of one. Empty: all.
    """
    found: list[Entry] = []
    for file, path in sorted(files):
        try:
            vector, thumbnail = load_vector(path), load_thumbnail(path)
        except InvalidInputError:
            continue
        fits = ((not part or part in vector.labels)
                and (not tag or tag in vector.tags or tag.casefold() in vector.name.casefold())
                and (not edit_type or edit_type == vector.edit_type)
                and (not fingerprint or vector.fingerprint in ("", fingerprint)))
        if fits:
            found.append(Entry(file, vector, thumbnail))
    return found


def describe(entry: Entry) -> str:
    """One line: name, parts, strengths, generator, file."""
    vector = entry.vector
    low, high = vector.strength_range
    parts = ", ".join(vector.labels) or "parts unknown"
    return f"{vector.name} ({parts}; strengths {low:g} to {high:g}; {vector.owner}): {entry.file}"


def library_sheet(entries: Sequence[Entry], *, cell: int = 192, columns: int = 4) -> Tensor:
    """Thumbnails with names: float32 [1,H,W,3] 0..1. A vector without a thumbnail is an empty frame."""
    rows = max(1, -(-len(entries) // columns))
    margin, caption = 8, 20
    width = margin + min(max(len(entries), 1), columns) * (cell + margin)
    sheet = Image.new("RGB", (width, margin + rows * (cell + caption + margin)), (250, 250, 252))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=13)
    if not entries:
        draw.text((margin, margin), "no edit vector fits", fill=(40, 42, 50), font=font)
    for i, entry in enumerate(entries):
        left, top = margin + i % columns * (cell + margin), margin + i // columns * (cell + caption + margin)
        if entry.thumbnail is None:
            draw.rectangle((left, top, left + cell - 1, top + cell - 1), outline=(200, 202, 210))
        else:
            picture = Image.fromarray(entry.thumbnail.numpy())
            scale = cell / max(picture.size)
            size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            sheet.paste(picture.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS),
                        (left, top))
        name = entry.vector.name
        while font.getlength(name) > cell and len(name) > 4:
            name = name[:-4] + "..."
        draw.text((left, top + cell + 2), name, fill=(40, 42, 50), font=font)
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255)[None]
