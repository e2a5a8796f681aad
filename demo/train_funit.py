"""The demo FUNIT: creatures of 60 classes; 12 more are held out.

    python -m latent_atelier.demo.train_funit --out DIR [--steps N]

Stopped, it goes on where it was. `funit.safetensors` in the folder is the translator.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch

from ..checkpoints.registry import save_checkpoint
from ..pipelines.funit.data import ClassArray
from ..pipelines.funit.training import FunitRecipe, FunitSettings, train_funit
from ..pipelines.steps import StepInfo
from .creatures import Pose, render_creature, species

PER_CLASS, DATA_SEED = 150, 5
RECIPE = FunitRecipe(resolution=64, width=16, dis_width=16, dis_blocks=8, latent_dim=32, mlp_width=128, batch=6, steps=14_000,
                     mirror=False, seed=1,
                     settings=FunitSettings(reconstruction=1.0, lr=2e-4, ema=0.998, precision="bfloat16"))


def creatures(per_class: int = PER_CLASS, seed: int = DATA_SEED) -> ClassArray:
    """Renderings of the training classes."""
    rng, kinds = np.random.default_rng(seed), species()[0]
    pictures = np.stack([render_creature(kind, Pose.sample(rng)) for kind in kinds for _ in range(per_class)])
    return ClassArray(pictures, np.repeat(np.arange(len(kinds)), per_class), [f"creature {i:02}" for i in range(len(kinds))])


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    args = parser.parse_args()
    started = time.monotonic()

    def told(info: StepInfo) -> None:
        if info.step % 50 == 0:
            values = "  ".join(f"{name} {value:.3f}" for name, value in info.losses.items())
            sys.stdout.write(f"{info.step:6d}  {time.monotonic() - started:7.0f} s  {values}\n")
            sys.stdout.flush()

    recipe = FunitRecipe(**{**RECIPE.__dict__, "steps": args.steps})
    trainer = train_funit(creatures(), recipe, args.out, sample_every=500, on_step=told)
    save_checkpoint(args.out / "funit.safetensors", trainer.ema, architecture="funit", dtype=torch.float16, license="MIT")


if __name__ == "__main__":
    main()
