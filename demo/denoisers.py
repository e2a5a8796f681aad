"""What the recipes of the demo denoisers have in common: what they say while they run, and what they leave."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from ..checkpoints.registry import save_checkpoint
from ..pipelines.langevin.preconditioning import EDMPrior
from ..pipelines.langevin.training import stated
from ..pipelines.steps import OnStep, StepInfo


def told() -> OnStep:
    """Every fiftieth step to standard output, with the mean loss since the last one."""
    started, losses = time.monotonic(), list[float]()

    def tell(info: StepInfo) -> None:
        losses.append(info.losses["loss"])
        if info.step % 50 == 0:
            sys.stdout.write(f"{info.step:6d}  {time.monotonic() - started:7.0f} s  loss {sum(losses) / len(losses):.4f}\n")
            sys.stdout.flush()
            losses.clear()

    return tell


def written(path: Path, network: EDMPrior, *, sample_rate: int | None = None) -> None:
    """A demo denoiser, in float16."""
    network.sample_rate = sample_rate
    save_checkpoint(path, network.eval(), architecture="edm-denoiser", config=stated(network), license="MIT",
                    dtype=torch.float16)
