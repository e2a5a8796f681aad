"""Editing while somebody paints: an edit goes on from the last one when only a little of the label map changed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import torch
from torch import Tensor

from ..pipelines.editgan.editing import Edit, EditSettings, EditState
from ..runtime import live

SMALL = 0.1
"""Share of a picture's pixels that may have another label than at the last run."""


class LiveEdit:
    """The last edit of a node, where it can be gone on from. initial: its change of the codes, or None.

    node: its id. steps: 0 turns all of this off. circumstances: what has to be the same, beside the codes.
    """

    def __init__(self, node: str, steps: int, start: Tensor, target: Tensor, circumstances: tuple[object, ...]) -> None:
        self.node, self.steps, self.start, self.target = node, steps if node else 0, start, target
        self.initial: Tensor | None = None
        codes = hashlib.sha256(start.cpu().contiguous().numpy().tobytes()).hexdigest()
        self.circumstances = f"{circumstances!r} {codes}"
        last = live.recall(node, self.circumstances) if self.steps else None
        if last is not None:
            delta, before = last
            if before.shape == target.shape and bool(
                    ((before.to(target.device) != target).float().mean(dim=(1, 2)) <= SMALL).all()):
                self.initial = delta.to(start.device)

    def settings(self, settings: EditSettings) -> EditSettings:
        """The settings with the steps that this run needs."""
        return settings if self.initial is None else replace(settings, steps=self.steps)

    def remember(self, edit: Edit) -> None:
        """Keep the edit for the next run."""
        if self.steps:
            live.remember(self.node, self.circumstances, (edit.delta.detach().cpu(), self.target.cpu()))

    def unedited(self) -> Edit:
        """What comes of a label map on which nothing is painted yet."""
        zero, count = torch.zeros_like(self.start), len(self.start)
        loss, step = zero.new_zeros(count), torch.zeros(count, dtype=torch.long, device=zero.device)
        state = EditState(0, self.start, zero, zero, self.start, loss, step, loss[None])
        return Edit(zero, loss, step, loss[None], state)
