"""What a training shows of itself: losses as JSON lines and as curves, samples as grids."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..curves import plot_curves
from ..errors import UnwritableFileError
from ..files import write_whole

POINTS = 240
"""A curve is smoothed over stretches of 1/POINTS of its length."""


class LossLog:
    """losses.jsonl, one object per step: {"step": 1, name: value, ...}. Use it as a context.

    Opened for a training at `step`, it drops the lines of later steps, which the training is about to do again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.path = path
        self._rows: list[dict[str, float]] = _read(path, step)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, "".join(f"{json.dumps(row)}\n" for row in self._rows).encode())
            self._file = path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise UnwritableFileError(f"{path.name} could not be written to {path.parent}: {error}.") from error

    def __enter__(self) -> LossLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def append(self, step: int, losses: Mapping[str, float]) -> None:
        """One finished step."""
        row = {"step": step, **losses}
        self._rows.append(row)
        try:
            self._file.write(f"{json.dumps(row)}\n")
        except OSError as error:
            raise UnwritableFileError(f"{self.path.name} could not be written to {self.path.parent}: {error}.") from error

    def picture(self) -> Tensor | None:
        """The curves, float [1,H,W,3] 0..1; None before the first step."""
        return curves_of(self._rows)


def read_curves(path: Path) -> Tensor | None:
    """The curves in a losses.jsonl, float [1,H,W,3] 0..1; None when there is no line in it."""
    return curves_of(_read(path, None))


def curves_of(rows: list[dict[str, float]]) -> Tensor | None:
    """One curve per loss, smoothed; a loss that some steps did not evaluate keeps its last value there."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    if not names:
        return None
    width = max(1, len(rows) // POINTS)
    curves: list[tuple[str, Tensor]] = []
    for name in names:
        last, values = math.nan, list[float]()
        for row in rows:
            last = row.get(name, last)
            values.append(last)
        stretches = torch.split(torch.tensor(values, dtype=torch.float64), width)
        curves.append((name, torch.cat([part.nanmean().expand(len(part)) for part in stretches])))
    return plot_curves(curves)


def _read(path: Path, step: int | None) -> list[dict[str, float]]:
    """The whole lines up to a step."""
    rows: list[dict[str, float]] = []
    if not path.is_file():
        return rows
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row: Any = json.loads(line)
        except ValueError:
            break  # the end of a file whose writer was killed
        if not isinstance(row, dict) or not isinstance(cast("dict[str, Any]", row).get("step"), int):
            break
        if step is not None and row["step"] > step:
            break
        rows.append(cast("dict[str, float]", row))
    return rows


def save_picture(path: Path, picture: Tensor) -> None:
    """float [1,H,W,3] 0..1 as a PNG, whole or not at all."""
    array = (picture[0].detach().float().clamp(0, 1) * 255).round().byte().cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(array)).save(buffer, format="PNG")
    write_whole(path, buffer.getvalue())


def grid(samples: Tensor) -> Tensor:
    """float [rows,columns,3,H,W] -1..1 -> one picture [1,rows*H,columns*W,3] 0..1."""
    joined = samples.detach().float().cpu().permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return ((joined + 1) / 2).clamp(0, 1)[None]
