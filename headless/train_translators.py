"""`atelier train funit` and `atelier train unit`."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..checkpoints.registry import save_checkpoint
from ..pipelines.funit.data import ClassFolder
from ..pipelines.funit.training import FunitRecipe, FunitSettings, train_funit
from ..pipelines.steps import OnStep
from ..pipelines.training.data import PictureFolder
from ..pipelines.unit.training import UnitRecipe, UnitSettings, train_unit


def train_funit_from(options: argparse.Namespace, out: Path, device: torch.device, bar: OnStep) -> list[Path]:
    """The translator that the command line describes; returns its file."""
    recipe = FunitRecipe(resolution=options.resolution, width=options.width, dis_width=options.dis_width, batch=options.batch,
                         steps=options.steps, mirror=not options.no_mirror, seed=options.seed, settings=FunitSettings(
                             reconstruction=options.reconstruction, penalty_form=options.penalty, lr=options.lr))
    trainer = train_funit(ClassFolder(Path(options.classes), recipe.resolution), recipe, out, device=device,
                          sample_every=options.sample_every, on_step=bar)
    path = out / "funit.safetensors"
    save_checkpoint(path, trainer.ema, architecture="funit")
    return [path]


def train_unit_from(options: argparse.Namespace, out: Path, device: torch.device, bar: OnStep) -> list[Path]:
    """The translator that the command line describes; returns its file."""
    recipe = UnitRecipe(resolution=options.resolution, width=options.width, dis_width=options.dis_width, batch=options.batch,
                        steps=options.steps, mirror=not options.no_mirror, seed=options.seed,
                        settings=UnitSettings(lr=options.lr, cycle=options.cycle, cycle_kl=0.01 if options.cycle else 0.0))
    a, b = (PictureFolder(Path(folder), recipe.resolution) for folder in (options.a, options.b))
    trainer = train_unit(a, b, recipe, out, device=device, sample_every=options.sample_every, on_step=bar)
    path = out / "unit.safetensors"
    save_checkpoint(path, trainer.domains.eval(), architecture="unit")
    return [path]
