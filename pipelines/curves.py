"""Loss curves as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

PAPER, GRID, INK = (250, 250, 252), (222, 224, 230), (40, 42, 50)
COLOURS = ((46, 110, 180), (220, 100, 50), (60, 150, 90), (150, 80, 170), (180, 150, 40), (90, 90, 100))
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 28, 32


def plot_curves(curves: Sequence[tuple[str, Tensor]], *, width: int = 640, height: int = 320) -> Tensor:
    """Lines (name, values [N]) over the step 0..N-1, on a logarithmic axis when all are positive: [1,H,W,3] 0..1.

    Values that are not finite leave a gap.
    """
    values = torch.cat([v.detach().float().flatten().cpu() for _, v in curves])
    values = values[values.isfinite()]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    logarithmic = low > 0 and high / low > 3
    scale = math.log10 if logarithmic else float
    bottom, top = scale(low), scale(high)
    if top - bottom <= 1e-9 * max(abs(top), 1e-3):
        margin = max(abs(top) / 100, 1e-3)
        bottom, top = bottom - margin, top + margin
    longest = max(len(v) for _, v in curves)
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=12)

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (width - LEFT - RIGHT) * step / max(longest - 1, 1)
        return x, height - BOTTOM - (height - TOP - BOTTOM) * (value - bottom) / (top - bottom)

    for i in range(5):
        value = bottom + (top - bottom) * i / 4
        y = place(0, value)[1]
        draw.line((LEFT, y, width - RIGHT, y), fill=GRID)
        draw.text((LEFT - 6, y), f"{10**value if logarithmic else value:.3g}", fill=INK, font=font, anchor="rm")
        step = (longest - 1) * i / 4
        draw.text((place(step, bottom)[0], height - BOTTOM + 6), f"{step:.0f}", fill=INK, font=font, anchor="mt")
    caption = LEFT
    for i, (name, curve) in enumerate(curves):
        colour = COLOURS[i % len(COLOURS)]
        points: list[tuple[float, float]] = []
        for step, value in enumerate(cast(list[float], curve.detach().float().flatten().tolist())):
            if math.isfinite(value):
                points.append(place(step, scale(value)))
                continue
            if len(points) > 1:
                draw.line(points, fill=colour, width=2)
            points = []
        if len(points) > 1:
            draw.line(points, fill=colour, width=2)
        elif points:
            draw.circle(points[0], 2, fill=colour)
        draw.text((caption, 8), name, fill=colour, font=font)
        caption += int(font.getlength(name)) + 16
    return torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255)[None]
