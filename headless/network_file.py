"""Networks that a command line names by their files."""

from __future__ import annotations

import torch

from ..checkpoints.registry import Checkpoint, load_checkpoint
from ..nodes.models import ARCHITECTURES
from ..pipelines.errors import InvalidInputError


def read_network(path: str, role: str, device: torch.device) -> Checkpoint:
    """The network in a safetensors file, on the device. role: a key of ARCHITECTURES. Raises InvalidInputError when it is of
    another kind."""
    checkpoint = load_checkpoint(path)
    if checkpoint.architecture not in ARCHITECTURES[role]:
        raise InvalidInputError(f"{path} is a {checkpoint.architecture}, expected a {' or '.join(ARCHITECTURES[role])}.")
    checkpoint.module.to(device)
    return checkpoint
