"""`atelier train denoiser`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..checkpoints.registry import save_checkpoint
from ..pipelines.langevin.crops import Crops, PictureCrops, PictureFiles, SoundCrops, by_folder
from ..pipelines.langevin.position import Labels
from ..pipelines.langevin.training import DenoiserRecipe, DenoiserSettings, stated, train_denoiser
from ..pipelines.sound_files import read_wavs
from ..pipelines.steps import OnStep
from ..pipelines.training.together import Group

FEATURES = 6
"""Features of the position."""


def train_denoiser_from(options: argparse.Namespace, out: Path, device: torch.device, bar: OnStep, _: Group) -> list[Path]:
    """The denoiser that the command line describes; returns its file."""
    data, rate = _crops(options)
    given = {"width": options.width, "blocks": options.blocks, "patch": options.patch}
    recipe = DenoiserRecipe.preset(
        data, batch=options.batch, steps=options.steps, seed=options.seed, **{k: v for k, v in given.items() if v is not None},
        settings=DenoiserSettings(lr=options.lr, decay=options.decay, precision=options.precision))
    trainer = train_denoiser(data, recipe, out, device=device, sample_every=options.sample_every, on_step=bar)
    trainer.ema.sample_rate = rate
    path = out / "denoiser.safetensors"
    save_checkpoint(path, trainer.ema, architecture="edm-denoiser", config=stated(trainer.ema))
    return [path]


def _crops(options: argparse.Namespace) -> tuple[Crops, int | None]:
    """What to train on, and of sound its sample rate."""
    if options.sound is not None:
        sounds, rate = read_wavs(Path(options.sound))
        return SoundCrops(sounds, options.crop or 8192), rate
    folder = Path(options.pictures)
    files = PictureFiles(folder, longest=options.longest)
    chosen, names = by_folder(files) if options.classes else (None, ())
    labels = Labels(names, 0 if options.no_positions else FEATURES)
    return PictureCrops(files, options.crop or 64, classes=chosen, labels=labels, mirror=not options.no_mirror), None
