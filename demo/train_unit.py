"""The demo UNIT: streets by day (a) and by night (b), never the same street in both.

    python -m latent_atelier.demo.train_unit --out DIR [--steps N]

Stopped, it goes on where it was. `unit.safetensors` in the folder is the translator.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import torch

from ..checkpoints.registry import save_checkpoint
from ..pipelines.steps import StepInfo
from ..pipelines.training.data import PictureArray
from ..pipelines.unit.training import UnitRecipe, UnitSettings, train_unit
from .streets import render_streets, streets

PICTURES, DAY_SEED, NIGHT_SEED = 4000, 11, 12
RECIPE = UnitRecipe(resolution=64, width=16, n_downs=2, n_res=3, dis_width=16, dis_layers=3, dis_scales=2, batch=4,
                    steps=8_000, seed=1, settings=UnitSettings(lr=2e-4, half_life=4_000, precision="bfloat16"))


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

    day, night = (PictureArray(render_streets(streets(PICTURES, seed), night=dark))
                  for seed, dark in ((DAY_SEED, False), (NIGHT_SEED, True)))
    recipe = UnitRecipe(**{**RECIPE.__dict__, "steps": args.steps})
    trainer = train_unit(day, night, recipe, args.out, sample_every=500, on_step=told)
    save_checkpoint(args.out / "unit.safetensors", trainer.domains.eval(), architecture="unit", dtype=torch.float16,
                    license="MIT")


if __name__ == "__main__":
    main()
