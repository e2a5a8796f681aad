"""Progress, previews and cancelling, whoever runs us."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ..pipelines.steps import StepInfo
from .context import Cancelled, active
from .identity import EMBEDDED

Preview = Callable[[], Tensor]

PREVIEW_INTERVAL = 0.2
PREVIEW_SIZE = 512


def check_cancel() -> None:
    """Raise when the user cancelled: the host's interrupt, or Cancelled."""
    if not EMBEDDED:
        importlib.import_module("comfy.model_management").throw_exception_if_processing_interrupted()
        return
    context = active()
    if context is not None and context.cancelled:
        raise Cancelled


def preview_image(picture: Tensor) -> Image.Image:
    """The first picture of float [B,3,H,W] -1..1."""
    array = ((picture[0].detach().float() + 1) * 127.5).clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(array))


class Progress:
    """The steps of one node. Every report checks for a cancel; at most five pictures a second are decoded and shown."""

    def __init__(self, total: int, node_id: str | None = None) -> None:
        self.total = total
        self._shown = -PREVIEW_INTERVAL
        self._bar: Any = None
        if not EMBEDDED:
            self._bar = importlib.import_module("comfy.utils").ProgressBar(total, node_id=node_id)

    def step_to(self, step: int, preview: Preview | None = None) -> None:
        """Step 1..total is done. Raises when the run was cancelled."""
        check_cancel()
        if self._bar is not None:
            self._bar.update_absolute(step, self.total, self._picture(preview))
            return
        context = active()
        if context is not None and context.on_progress is not None:
            context.on_progress(step, self.total)

    def on_step(self, info: StepInfo) -> None:
        """The callback for a loop in pipelines/."""
        self.step_to(info.step, info.preview)

    def _picture(self, preview: Preview | None) -> tuple[str, Image.Image, int] | None:
        now = time.monotonic()
        if preview is None or now - self._shown < PREVIEW_INTERVAL:
            return None
        self._shown = now
        image = preview_image(preview())
        scale = max(1, PREVIEW_SIZE // 2 // max(image.size))
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        return "JPEG", image, PREVIEW_SIZE
