"""`atelier train funit` and `atelier train unit`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import cast

import torch
from torch import nn

from ..checkpoints.registry import save_checkpoint
from ..pipelines.funit.data import ClassFolder
from ..pipelines.funit.network import Translator
from ..pipelines.funit.training import FunitRecipe, FunitSettings, train_funit
from ..pipelines.steps import OnStep
from ..pipelines.training.data import PictureFolder
from ..pipelines.training.together import Group
from ..pipelines.unit.shared import SharedRecipe, SharedSettings, train_shared
from ..pipelines.unit.training import UnitRecipe, UnitSettings, train_unit
from .network_file import read_network


def train_funit_from(options: argparse.Namespace, out: Path, device: torch.device, bar: OnStep, group: Group) -> list[Path]:
    """The translator that the command line describes; the first process returns its file."""
    recipe = FunitRecipe(resolution=options.resolution, width=options.width, dis_width=options.dis_width, batch=options.batch,
                         steps=options.steps, mirror=not options.no_mirror, seed=options.seed, shots=options.shots,
                         settings=FunitSettings(reconstruction=options.reconstruction, penalty_form=options.penalty,
                                                lr=options.lr, discriminator_first=options.discriminator_first))
    start = None if options.start is None else cast(Translator, read_network(options.start, "funit", device).module)
    trainer = train_funit(ClassFolder(Path(options.classes), recipe.resolution), recipe, out, start=start, device=device,
                          sample_every=options.sample_every, on_step=bar, group=group)
    return _saved(trainer.ema, "funit", out, group)


def train_unit_from(options: argparse.Namespace, out: Path, device: torch.device, bar: OnStep, group: Group) -> list[Path]:
    """The translator that the command line describes; the first process returns its file."""
    a, b = (PictureFolder(Path(folder), options.resolution) for folder in (options.a, options.b))
    if options.form == "shared":
        shared = SharedRecipe(
            resolution=options.resolution, width=options.width, dis_width=options.dis_width, batch=options.batch,
            steps=options.steps, mirror=not options.no_mirror, seed=options.seed, settings=SharedSettings(
                lr=options.lr, cycle_likelihood=10 * options.cycle, cycle_kl=0.1 if options.cycle else 0.0))
        domains: nn.Module = train_shared(a, b, shared, out, device=device, sample_every=options.sample_every, on_step=bar,
                                          group=group).domains
        return _saved(domains.eval(), "unit-shared", out, group)
    recipe = UnitRecipe(resolution=options.resolution, width=options.width, dis_width=options.dis_width, batch=options.batch,
                        steps=options.steps, mirror=not options.no_mirror, seed=options.seed,
                        settings=UnitSettings(lr=options.lr, cycle=options.cycle, cycle_kl=0.01 if options.cycle else 0.0))
    domains = train_unit(a, b, recipe, out, device=device, sample_every=options.sample_every, on_step=bar, group=group).domains
    return _saved(domains.eval(), "unit", out, group)


def _saved(network: nn.Module, architecture: str, out: Path, group: Group) -> list[Path]:
    if not group.leader:
        return []
    path = out / f"{architecture.split('-')[0]}.safetensors"
    save_checkpoint(path, network, architecture=architecture)
    return [path]
