"""Perceptual distances as networks: encode a target once, compare many pictures with it."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from .stylegan2.discriminator import Discriminator

Features = list[Tensor]


class PerceptualLoss(Protocol):
    """What the optimisers ask of a perceptual distance."""

    def features(self, images: Tensor) -> Features:
        """Features of images float32 [B,3,H,W] in -1..1."""
        ...

    def distance(self, a: Features, b: Features) -> Tensor:
        """Distance of two encoded batches, [B], zero for equal pictures."""
        ...

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance [B] of two batches of images."""
        ...


def unit_normalize(x: Tensor, eps: float = 1e-10) -> Tensor:
    """x [B,C,H,W] with unit length over the channels. eps under the root keeps the gradient finite at zero."""
    return x * (x.square().sum(dim=1, keepdim=True) + eps).rsqrt()


class DiscriminatorDistance(nn.Module):
    """Distance in the features of a trained discriminator: LPIPS's form, without learned heads.

    Mean over blocks and pixels of the squared difference of unit-length feature vectors; 0..4. A network that was
    trained on the pictures of the domain, which the pack can ship, where a photograph network cannot be.
    """

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def features(self, images: Tensor) -> Features:
        return [unit_normalize(x) for x in self.discriminator.features(images)[0]]

    def distance(self, a: Features, b: Features) -> Tensor:
        levels = [(x - y).square().sum(dim=1).mean(dim=(1, 2)) for x, y in zip(a, b, strict=True)]
        return torch.stack(levels).mean(dim=0)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance [B] of images float32 [B,3,H,W] in -1..1."""
        return self.distance(self.features(a), self.features(b))
