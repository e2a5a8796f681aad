"""Joint trainings: the processes that torchrun starts."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from ..pipelines.errors import InvalidInputError
from ..pipelines.training.together import ALONE, Group

JOINT = ("funit", "unit")


@contextmanager
def joined(network: str, device: torch.device) -> Generator[tuple[Group, torch.device], None, None]:
    """This process's place among those that torchrun started, and its device; alone without torchrun. Raises
    InvalidInputError for a network that is trained by one process."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE, device
        return
    if network not in JOINT:
        raise InvalidInputError(f"The training of a {network} runs in one process; start it without torchrun.")
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl")
    try:
        yield Group(dist.get_rank(), dist.get_world_size()), device
    finally:
        dist.destroy_process_group()
