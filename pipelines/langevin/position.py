"""What a trained denoiser is told: which class, and where along the first axis of the whole a crop lies, or from where an
object is seen, as smooth features.

A label is float [classes + features]: one place per class, 1 at the class (none: all 0), then the features of the position or
of the pose (unknown: all 0).
"""

from __future__ import annotations

import math
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


@runtime_checkable
class Posed(View, Protocol):
    """A view that knows from where its samples are seen, as `cameras.Cameras`: degrees, float [N]."""

    @property
    def azimuth(self) -> Tensor: ...

    @property
    def elevation(self) -> Tensor: ...


POSE_FEATURES = 5


def pose_features(poses: Tensor) -> Tensor:
    """poses float [N,2], azimuth and elevation in degrees, NaN where unknown -> [N,5]: sine and cosine of the azimuth and of
    twice it, sine of the elevation."""
    azimuth, elevation = torch.deg2rad(poses).unbind(1)
    found = torch.stack([azimuth.sin(), azimuth.cos(), (2 * azimuth).sin(), (2 * azimuth).cos(), elevation.sin()], dim=1)
    return torch.nan_to_num(found, nan=0.0)


def position_features(position: Tensor, count: int) -> Tensor:
    """position float [N], 0..1 -> [N,count]: bumps whose tops lie evenly from 0 to 1, each as wide as they are apart."""
    if count < 1:
        return position.new_zeros(len(position), 0)
    tops = torch.linspace(0, 1, count).to(position)
    return torch.exp(-0.5 * ((position[:, None] - tops) * max(1, count - 1)).square())


@dataclass(frozen=True)
class Labels:
    """What the labels of a network mean. classes: their names. features: of the position, 0 where it was trained without.
    poses: whether positions are poses (`pose_features`)."""

    classes: tuple[str, ...] = ()
    features: int = 0
    poses: bool = False

    def __post_init__(self) -> None:
        if self.poses and self.features:
            raise InvalidInputError("A denoiser is told where a crop lies or from where an object is seen, not both.")

    @property
    def dim(self) -> int:
        """Length of a label."""
        return len(self.classes) + (POSE_FEATURES if self.poses else self.features)

    def encode(self, classes: Tensor, positions: Tensor) -> Tensor:
        """classes int [N], -1 for none; positions float [N], or poses [N,2] -> labels float [N,dim]."""
        names = torch.arange(len(self.classes), device=classes.device)
        placed = pose_features(positions) if self.poses else position_features(positions, self.features)
        return torch.cat([(classes[:, None] == names).to(positions), placed], dim=1)

    def index(self, name: str | None) -> int:
        """Of a class, -1 for None. InvalidInputError when there is no such class."""
        if name is None:
            return -1
        if name not in self.classes:
            known = ", ".join(self.classes) if self.classes else "none"
            raise InvalidInputError(f"The denoiser knows no class '{name:.40}'; it knows {known}.")
        return self.classes.index(name)

    def condition(self, name: str | None = None) -> Label | None:
        """The condition of a class at the place or from the pose that a view shows, for `NetworkDenoiser`; None for a network
        without labels. A view that knows no poses leaves them open."""
        chosen = self.index(name)
        if not self.dim:
            return None

        def label(count: int, view: View | None) -> Tensor:
            if self.poses:
                positions = (torch.stack([view.azimuth, view.elevation], dim=1).float() if isinstance(view, Posed)
                             else torch.full((count, 2), math.nan))
            elif not self.features:
                positions = torch.zeros(count)
            elif isinstance(view, Placed):
                positions = view.centres[:, 0].float()
            else:
                raise InvalidInputError("The denoiser was trained with positions; use it on a canvas, which tells where each "
                                        "crop lies.")
            return self.encode(torch.full((count,), chosen, device=positions.device), positions)

        return label


def from_config(classes: Sequence[str], features: int) -> Labels:
    """As a weights file states them."""
    return Labels(tuple(classes), features)
