"""Picture sheets that explain an edit at a glance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .errors import InvalidInputError
from .labels import LabelMap, render

MARGIN, CAPTION = 8, 20
PAPER, INK = (250, 250, 252), (40, 42, 50)


def _fit(picture: Tensor, cell: int) -> Image.Image:
    """float [H,W,3] 0..1 as a picture of `cell` pixels on its longer side; enlarged by whole steps, so pixels stay."""
    array = (picture.float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    image = Image.fromarray(np.ascontiguousarray(array))
    scale = cell / max(image.size)
    size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
    return image.resize(size, Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS)


def contact_sheet(columns: Sequence[tuple[str, Tensor]], *, cell: int = 192) -> Tensor:
    """Captioned columns of pictures, one row per picture of the batch. Columns are (caption, float [B,H,W,3] 0..1);
    a batch of one is repeated. Returns float32 [1,H,W,3] 0..1. cell: side of a picture on the sheet, in pixels.
    """
    rows = max(len(pictures) for _, pictures in columns)
    for caption, pictures in columns:
        if len(pictures) not in (1, rows):
            raise InvalidInputError(f"The column '{caption}' of the sheet has {len(pictures)} pictures, others {rows}; "
                                    f"give every input the same number of pictures.")
    width = MARGIN + len(columns) * (cell + MARGIN)
    height = MARGIN + CAPTION + rows * (cell + MARGIN)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for i, (caption, pictures) in enumerate(columns):
        left = MARGIN + i * (cell + MARGIN)
        draw.text((left + cell / 2, MARGIN), caption, fill=INK, font=font, anchor="mt")
        for row in range(rows):
            picture = _fit(pictures[row if len(pictures) > 1 else 0], cell)
            top = MARGIN + CAPTION + row * (cell + MARGIN)
            sheet.paste(picture, (left + (cell - picture.width) // 2, top + (cell - picture.height) // 2))
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255)[None]


def difference(before: Tensor, after: Tensor, *, gain: float = 3.0) -> Tensor:
    """How much each pixel changed: white where nothing did, darker and warmer the more. [B,H,W,3] in and out."""
    if before.shape[1:] != after.shape[1:]:
        raise InvalidInputError(f"The pictures to compare differ in size: {list(before.shape)} and {list(after.shape)}.")
    change = ((after - before).abs().mean(dim=3, keepdim=True) * gain).clamp(0, 1)
    return 1 - change * torch.tensor([0.25, 0.85, 0.9])


def outlined(picture: Tensor, mask: Tensor, colour: tuple[float, float, float] = (1.0, 0.25, 0.1)) -> Tensor:
    """The picture with the inner edge of the mask drawn in colour. [B,H,W,3] and float [B,H,W] 0..1."""
    inside = (mask > 0.5).float()[:, None]
    core = 1 - torch.nn.functional.max_pool2d(1 - inside, 3, stride=1, padding=1)
    edge = ((inside - core) > 0)[:, 0, :, :, None]
    return torch.where(edge, torch.tensor(colour), picture)


def with_legend(label_map: LabelMap, picture: Tensor | None = None, *, opacity: float = 1.0, cell: int = 256) -> Tensor:
    """The map in its colours, over the picture if one is given, beside the names of its parts. [B,H',W',3] 0..1."""
    colours = render(label_map).cpu()
    if picture is not None:
        if picture.shape[1:3] != colours.shape[1:3]:
            raise InvalidInputError(f"The picture has {list(picture.shape[1:3])} pixels (height, width), the label map "
                                    f"{list(colours.shape[1:3])}; give the picture the map belongs to.")
        colours = colours * opacity + picture[..., :3].cpu() * (1 - opacity)
    names, palette = label_map.labels.names, label_map.labels.colours
    font = ImageFont.load_default(size=12)
    legend = round(max(font.getlength(name) for name in names)) + 34
    line = 16
    shown: list[Tensor] = []
    for sample in colours:
        picture_image = _fit(sample, cell)
        height = max(picture_image.height + 2 * MARGIN, line * len(names) + 2 * MARGIN)
        sheet = Image.new("RGB", (picture_image.width + 3 * MARGIN + legend, height), PAPER)
        sheet.paste(picture_image, (MARGIN, MARGIN))
        draw = ImageDraw.Draw(sheet)
        for i, (name, colour) in enumerate(zip(names, palette, strict=True)):
            x, y = picture_image.width + 2 * MARGIN, MARGIN + i * line
            draw.rectangle((x, y + 2, x + 12, y + 14), fill=colour, outline=INK)
            draw.text((x + 18, y + 8), name, fill=INK, font=font, anchor="lm")
        shown.append(torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255))
    return torch.stack(shown)
