"""The demo FUNIT: creatures of 120 classes, each shown by one to five pictures; 12 more classes are held out.

    python -m latent_atelier.demo.train_funit --out DIR [--steps N] [--start FILE]

Stopped, it goes on where it was. `funit.safetensors` in the folder is the translator. --start trains a translator further; the
discriminator, which is new, then begins 400 steps earlier.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
import torch

from ..checkpoints.registry import load_checkpoint, save_checkpoint
from ..pipelines.funit.data import ClassArray
from ..pipelines.funit.training import FunitRecipe, FunitSettings, train_funit
from ..pipelines.steps import StepInfo
from .creatures import Pose, render_creature, species

FURTHER, PER_CLASS, DATA_SEED, HEAD_START = 60, 100, 5, 400
RECIPE = FunitRecipe(resolution=64, width=16, dis_width=16, dis_blocks=8, latent_dim=32, mlp_width=128, batch=6, steps=14_000,
                     mirror=False, seed=1, shots=5,
                     settings=FunitSettings(reconstruction=1.0, lr=2e-4, ema=0.998, precision="bfloat16"))


def creatures(per_class: int = PER_CLASS, seed: int = DATA_SEED) -> ClassArray:
    """Renderings of the training classes."""
    rng, kinds = np.random.default_rng(seed), species(further=FURTHER)[0]
    pictures = np.stack([render_creature(kind, Pose.sample(rng)) for kind in kinds for _ in range(per_class)])
    return ClassArray(pictures, np.repeat(np.arange(len(kinds)), per_class), [f"creature {i:02}" for i in range(len(kinds))])


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    parser.add_argument("--start", type=Path, help="a translator to train further")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default=RECIPE.settings.precision,
                        help="of the convolutions (bfloat16, which only some processors are fast in)")
    args = parser.parse_args()
    started = time.monotonic()

    def told(info: StepInfo) -> None:
        if info.step % 50 == 0:
            values = "  ".join(f"{name} {value:.3f}" for name, value in info.losses.items())
            sys.stdout.write(f"{info.step:6d}  {time.monotonic() - started:7.0f} s  {values}\n")
            sys.stdout.flush()

    start = load_checkpoint(args.start).module if args.start else None
    settings = dataclasses.replace(RECIPE.settings, precision=args.precision, discriminator_first=HEAD_START if start else 0)
    recipe = dataclasses.replace(RECIPE, steps=args.steps, settings=settings)
    trainer = train_funit(creatures(), recipe, args.out, start=start, sample_every=500, on_step=told)
    save_checkpoint(args.out / "funit.safetensors", trainer.ema, architecture="funit", dtype=torch.float16, license="MIT")


if __name__ == "__main__":
    main()
