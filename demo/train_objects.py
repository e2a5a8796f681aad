"""The demo denoiser of objects: 64x64 pictures of procedural cars, houses and trees, told what they show and from where.

    python -m latent_atelier.demo.train_objects --out DIR [--steps N M] [--views N]

Stopped, it goes on where it was. `objects_64.safetensors` in the folder is the denoiser.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..pipelines.langevin.crops import Drawn, integers
from ..pipelines.langevin.fields.cameras import orbit
from ..pipelines.langevin.position import Labels
from ..pipelines.langevin.training import DenoiserRecipe, DenoiserSettings, train_denoiser
from ..pipelines.training.data import to_network
from .denoisers import told, written
from .objects import CLASSES, make_object

SIZE, SEED, VIEWS = 64, 41, 12_000
"""Training objects are drawn from this seed; held-out ones everywhere else use other seeds."""
HIGHEST = 45.0
"""Elevations are drawn from 0 up to it, degrees."""
RECIPE = DenoiserRecipe(width=64, multipliers=(1, 2, 2), blocks=1, patch=4, attention=True, batch=16, steps=12_000, seed=1,
                        settings=DenoiserSettings(lr=1.5e-3, noise_mean=-0.4, noise_std=1.4, decay=3_000))
HIGH_LEVELS = dataclasses.replace(RECIPE, steps=9_000, seed=2, settings=DenoiserSettings(lr=1e-3, noise_mean=0.8, noise_std=1.5,
                                                                                      decay=2_000))
"""A second stage from the first one's result. What an object is and its colours are settled at levels that the first seldom
draws: above twenty times the data's deviation in one sample of a hundred."""


class Views:
    """Every object seen once. pictures uint8 [N,64,64,3]; view i shows class i modulo their number. poses float32 [N,2]:
    azimuth and elevation in degrees. Mirrored at random, with the azimuth's sign, as the objects and their light have no side.
    """

    size, dims, channels, labels = SIZE, 2, 3, Labels(CLASSES, poses=True)

    def __init__(self, pictures: npt.NDArray[np.uint8], poses: npt.NDArray[np.float32], seed: int) -> None:
        self.pictures, self.poses, self.digest = pictures, torch.from_numpy(poses), f"objects {seed} {len(pictures)}"

    def draw(self, count: int, rng: torch.Generator) -> Drawn:
        chosen = torch.randint(len(self.pictures), (count,), generator=rng)
        mirrored = torch.rand(count, generator=rng) < 0.5
        pictures = torch.from_numpy(np.ascontiguousarray(self.pictures[integers(chosen)])).permute(0, 3, 1, 2)
        poses = self.poses[chosen].clone()
        poses[mirrored, 0] *= -1
        pictures = torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)
        return to_network(pictures), chosen % len(CLASSES), poses


def seen(count: int, seed: int) -> Views:
    """So many objects of a seed from random sides."""
    rng = np.random.default_rng(seed)
    poses = np.stack([rng.uniform(-180, 180, count), rng.uniform(0, HIGHEST, count)], axis=1).astype(np.float32)
    pictures = np.empty((count, SIZE, SIZE, 3), np.uint8)
    for i, (azimuth, elevation) in enumerate(poses):
        body = make_object(CLASSES[i % len(CLASSES)], (seed, i))
        pictures[i] = body.picture(orbit(float(azimuth), float(elevation)), SIZE).colour * 255 + 0.5
    return Views(pictures, poses, seed)


def training_data(count: int, folder: Path) -> Views:
    """The views of training, drawn once and kept in the folder."""
    path = folder / f"objects_{count}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        views = seen(count, SEED)
        part = path.with_suffix(".part.npz")
        np.savez(part, pictures=views.pictures, poses=views.poses.numpy())
        part.replace(path)
    with np.load(path) as kept:
        return Views(kept["pictures"], kept["poses"], SEED)


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, nargs=2, default=(RECIPE.steps, HIGH_LEVELS.steps), help="of the two stages")
    parser.add_argument("--views", type=int, default=VIEWS, help="objects to train on")
    args = parser.parse_args()
    data = training_data(args.views, args.out)
    first, second = (dataclasses.replace(r, steps=n) for r, n in zip((RECIPE, HIGH_LEVELS), args.steps, strict=True))
    trainer = train_denoiser(data, first, args.out, on_step=told())
    trainer = train_denoiser(data, second, args.out / "high_levels", start=trainer.ema, on_step=told())
    written(args.out / "objects_64.safetensors", trainer.ema)


if __name__ == "__main__":
    main()
