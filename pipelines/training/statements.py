"""What trainings say about networks: frozen here, averaged there."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["float32", "bfloat16"]


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


def computing(precision: Precision, like: Tensor) -> AbstractContextManager[object]:
    """Inside, convolutions and products on the device of `like` are in that precision; parameters and sums stay float32."""
    return torch.autocast(like.device.type, torch.bfloat16, enabled=precision == "bfloat16")
