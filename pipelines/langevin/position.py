"""What a trained denoiser is told: which class, and where along the first axis of the whole a crop lies, as smooth features.

A label is float [classes + features]: one place per class, 1 at the class (none: all 0), then the features of the position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from ..errors import InvalidInputError
from .denoiser import Label, View


@runtime_checkable
class Placed(View, Protocol):
    """A view that knows where its samples lie."""

    @property
    def centres(self) -> Tensor:
        """float [N,axes], 0..1 of each axis of the canvas."""
        ...


def position_features(position: Tensor, count: int) -> Tensor:
    """position float [N], 0..1 -> [N,count]: bumps whose tops lie evenly from 0 to 1, each as wide as they are apart."""
    if count < 1:
        return position.new_zeros(len(position), 0)
    tops = torch.linspace(0, 1, count).to(position)
    return torch.exp(-0.5 * ((position[:, None] - tops) * max(1, count - 1)).square())


@dataclass(frozen=True)
class Labels:
    """What the labels of a network mean. classes: their names. features: of the position, 0 where it was trained without."""

    classes: tuple[str, ...] = ()
    features: int = 0

    @property
    def dim(self) -> int:
        """Length of a label."""
        return len(self.classes) + self.features

    def encode(self, classes: Tensor, positions: Tensor) -> Tensor:
        """classes int [N], -1 for none; positions float [N] -> labels float [N,dim]."""
        names = torch.arange(len(self.classes), device=classes.device)
        return torch.cat([(classes[:, None] == names).to(positions), position_features(positions, self.features)], dim=1)

    def index(self, name: str | None) -> int:
        """Of a class, -1 for None. InvalidInputError when there is no such class."""
        if name is None:
            return -1
        if name not in self.classes:
            known = ", ".join(self.classes) if self.classes else "none"
            raise InvalidInputError(f"The denoiser knows no class '{name:.40}'; it knows {known}.")
        return self.classes.index(name)

    def condition(self, name: str | None = None) -> Label | None:
        """The condition of a class at the place that a view shows, for `NetworkDenoiser`; None for a network without labels."""
        chosen = self.index(name)
        if not self.dim:
            return None

        def label(count: int, view: View | None) -> Tensor:
            if not self.features:
                positions = torch.zeros(count)
            elif isinstance(view, Placed):
                positions = view.centres[:, 0].float()
            else:
                raise InvalidInputError("The denoiser was trained with positions; use it on a canvas, which tells where each "
                                        "crop lies.")
            return self.encode(torch.full((count,), chosen), positions)

        return label


def from_config(classes: Sequence[str], features: int) -> Labels:
    """As a weights file states them."""
    return Labels(tuple(classes), features)
