"""Small translator trainings that several processes do together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from latent_atelier.pipelines.errors import TrainingStoppedError
from latent_atelier.pipelines.funit.data import ClassArray
from latent_atelier.pipelines.funit.training import FunitRecipe, FunitSettings, train_funit
from latent_atelier.pipelines.steps import OnStep, StepInfo
from latent_atelier.pipelines.training.data import PictureArray
from latent_atelier.pipelines.training.together import Group
from latent_atelier.pipelines.unit.shared import SharedRecipe, train_shared
from latent_atelier.pipelines.unit.training import UnitRecipe, train_unit
from torch import nn

SMALL = {"resolution": 32, "width": 4, "dis_width": 4, "steps": 3, "seed": 3}


def pictures(count: int, seed: int) -> PictureArray:
    return PictureArray(np.random.default_rng(seed).integers(0, 255, (count, 32, 32, 3), dtype=np.uint8))


def funit(folder: Path, batch: int, group: Group, on_step: OnStep) -> nn.Module:
    data = ClassArray(pictures(9, 1).pictures, np.arange(9) % 3, ["a", "b", "c"])
    recipe = FunitRecipe(**SMALL, dis_blocks=4, latent_dim=4, mlp_width=8, batch=batch,
                         settings=FunitSettings(penalty_form="r1", lr=1e-5))
    return train_funit(data, recipe, folder, sample_every=0, on_step=on_step, group=group).translator


def unit(folder: Path, batch: int, group: Group, on_step: OnStep) -> nn.Module:
    recipe = UnitRecipe(**SMALL, n_res=1, dis_layers=2, dis_scales=2, batch=batch)
    return train_unit(pictures(5, 1), pictures(7, 2), recipe, folder, sample_every=0, on_step=on_step, group=group).domains


def shared(folder: Path, batch: int, group: Group, on_step: OnStep) -> nn.Module:
    recipe = SharedRecipe(**SMALL, n_res=1, dis_layers=3, dis_shared=2, batch=batch)
    return train_shared(pictures(5, 1), pictures(7, 2), recipe, folder, sample_every=0, on_step=on_step, group=group).domains


TRAININGS = {"funit": funit, "unit": unit, "shared": shared}


class Stop(Exception):
    """Ends a training."""


def member(rank: int, name: str, folder: Path, stops: bool) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2, store=dist.FileStore(str(folder / "store"), 2))

    def on_step(info: StepInfo) -> None:
        if stops and rank == 1 and info.step == 2:
            raise Stop

    try:
        network = TRAININGS[name](folder / "training", 2, Group(rank, 2), on_step)
        torch.save(network.state_dict(), folder / f"{rank}.pt")
    except (Stop, TrainingStoppedError) as error:
        (folder / f"{rank}.txt").write_text(type(error).__name__)
    finally:
        dist.destroy_process_group()
