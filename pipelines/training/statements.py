"""What trainings say about networks: frozen here, averaged there."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(network: nn.Module) -> Generator[None, None, None]:
    """Inside, a network's parameters take no gradients; what flows through it does."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def average(ema: nn.Module, network: nn.Module, keep: float) -> None:
    """Move an average towards the network's parameters."""
    with torch.no_grad():
        for a, b in zip(ema.parameters(), network.parameters(), strict=True):
            a.lerp_(b, 1 - keep)
