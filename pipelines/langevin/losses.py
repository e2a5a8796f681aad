"""Losses of denoisers as EDM trains and compares them (Karras et al. 2022, table 1): levels of noise from random numbers, and a
weighted squared error."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from .preconditioning import VPPrior


class Trained(Protocol):
    """What a loss asks of a network."""

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor: ...


def denoising_loss(network: Trained, clean: Tensor, sigma: Tensor, noise: Tensor, weight: Tensor,
                   labels: Tensor | None = None) -> Tensor:
    """weight [N] times the mean squared error of D(clean + sigma noise; sigma), per sample [N]. clean, noise [N,C,*size]; sigma
    [N]."""
    wide = sigma.reshape(-1, *[1] * (clean.ndim - 1))
    found = network(clean + wide * noise, sigma, labels)
    return weight * (found - clean).square().flatten(1).mean(dim=1)


def edm_levels(normal: Tensor, *, mean: float = -1.2, std: float = 1.2) -> Tensor:
    """ln sigma is normal."""
    return (normal * std + mean).exp()


def edm_weight(sigma: Tensor, sigma_data: float) -> Tensor:
    """What makes the error of every level 1 at the start of a training."""
    return (sigma.square() + sigma_data**2) / (sigma * sigma_data).square()


def vp_levels(uniform: Tensor, *, first: float = 1e-5) -> Tensor:
    """Time is uniform from `first` to 1. The weight that goes with it is 1 / sigma^2."""
    time = 1 + uniform * (first - 1)
    return ((0.5 * VPPrior.beta_d * time.square() + VPPrior.beta_min * time).exp() - 1).sqrt()


def ve_levels(uniform: Tensor, *, low: float = 0.02, high: float = 100.0) -> Tensor:
    """ln sigma is uniform. The weight that goes with it is 1 / sigma^2."""
    return low * (high / low) ** uniform
