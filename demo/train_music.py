"""The demo denoiser of music: stretches of two seconds of procedural pieces at 8 kHz.

    python -m latent_atelier.demo.train_music --out DIR [--steps N]

Stopped, it goes on where it was. `music_8k.safetensors` in the folder is the denoiser.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch

from ..pipelines.langevin.crops import SoundCrops
from ..pipelines.langevin.position import Labels
from ..pipelines.langevin.training import DenoiserRecipe, DenoiserSettings, train_denoiser
from .denoisers import told, written
from .music import KEYS, RATE, Piece, pieces, render

PIECES, SEED, CROP = 240, 31, 16384
RECIPE = DenoiserRecipe(width=256, multipliers=(1, 1), embedding=1, patch=256, lapped=True, attention=True, steps=30_000,
                        seed=1,
                        settings=DenoiserSettings(lr=1e-3, noise_mean=-0.4, noise_std=1.4, decay=2_000,
                                                  precision="bfloat16"))


def training_data(count: int = PIECES) -> SoundCrops:
    """Crops of pieces."""
    return crops_of(pieces(count, SEED))


def crops_of(chosen: Sequence[Piece]) -> SoundCrops:
    """Crops of pieces, with their keys as classes."""
    return SoundCrops([torch.from_numpy(render(piece))[None] for piece in chosen], CROP,
                      classes=[piece.key_index for piece in chosen], labels=Labels(KEYS))


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=RECIPE.steps)
    args = parser.parse_args()
    trainer = train_denoiser(training_data(), dataclasses.replace(RECIPE, steps=args.steps), args.out, sample_every=1000,
                             on_step=told())
    written(args.out / "music_8k.safetensors", trainer.ema, sample_rate=RATE)


if __name__ == "__main__":
    main()
