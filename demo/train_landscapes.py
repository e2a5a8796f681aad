"""The demo denoiser of landscapes: 64x64 crops of procedural landscapes, told their mood and how high in the picture they lie.

    python -m latent_atelier.demo.train_landscapes --out DIR [--steps N]

Stopped, it goes on where it was. `landscapes_64.safetensors` in the folder is the denoiser.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from ..pipelines.langevin.crops import PictureCrops, pictures_from
from ..pipelines.langevin.position import Labels
from ..pipelines.langevin.training import DenoiserRecipe, DenoiserSettings, train_denoiser
from .denoisers import told, written
from .landscapes import MOODS, landscapes

PER_MOOD, SEED, CROP, FEATURES = 64, 21, 64, 6
RECIPE = DenoiserRecipe(width=32, multipliers=(1, 2, 3), blocks=1, patch=2, batch=16, steps=7_500, seed=1,
                        settings=DenoiserSettings(lr=1.5e-3, noise_mean=-0.4, noise_std=1.4, decay=3_000,
                                                  precision="bfloat16"))


def training_data(per_mood: int = PER_MOOD) -> PictureCrops:
    """Crops of landscapes that wrap, a quarter of them in every mood."""
    found = landscapes(per_mood, SEED)
    return PictureCrops(pictures_from(np.concatenate([found[mood] for mood in MOODS])), CROP, wrap=True,
                        classes=[i for i in range(len(MOODS)) for _ in range(per_mood)], labels=Labels(MOODS, FEATURES))


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    args = parser.parse_args()
    trainer = train_denoiser(training_data(), dataclasses.replace(RECIPE, steps=args.steps), args.out, sample_every=1000,
                             on_step=told())
    written(args.out / "landscapes_64.safetensors", trainer.ema)


if __name__ == "__main__":
    main()
