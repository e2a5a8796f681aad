"""Langevin Refine: a hole in a picture is filled in, and the rest stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from latent_atelier.demo.make_images import shipped_landscape
from latent_atelier.nodes.denoisers import LoadDenoiser
from latent_atelier.nodes.langevin import LangevinRefine
from latent_atelier.nodes.langevin_settings import ConditionDenoiser
from latent_atelier.pipelines.langevin.presets import PRESETS
from latent_atelier.runtime.context import ExecutionContext, Folders

ROWS, COLUMNS = slice(120, 168), slice(56, 104)


@pytest.fixture
def day(tmp_path: Path):
    folders = Folders(input=[tmp_path], output=tmp_path, temp=tmp_path, models=[])
    with ExecutionContext(folders=folders, device=torch.device("cpu")).activate():
        handle = LoadDenoiser.execute("landscapes_64.safetensors").args[0]
        yield ConditionDenoiser.execute(handle, "day", 1.0, "float32", 8).args[0]


def step_ratio(picture: torch.Tensor, column: int) -> float:
    """Squared steps into a column of the hole's rows over those into the eight on either side."""
    steps = (picture[ROWS, 1:] - picture[ROWS, :-1]).square().mean(dim=(0, 2))
    around = [column - 1 + i for i in range(-8, 9) if i]
    return float(steps[column - 1] / steps[around].mean())


def test_a_hole_is_filled_in(day) -> None:
    truth = torch.from_numpy(np.asarray(shipped_landscape()).copy()).float()[None] / 255
    mask = torch.zeros(1, *truth.shape[1:3])
    mask[:, ROWS, COLUMNS] = 1
    holed = torch.where(mask[..., None] > 0, 0.5, truth)
    found, report = LangevinRefine.execute(day, PRESETS["outpaint"], holed, 10.0, False, 1, mask=mask).args
    assert float((found - truth)[mask == 0].abs().max()) < 1e-5
    drawn, true = found[0, ROWS, COLUMNS], truth[0, ROWS, COLUMNS]
    assert (drawn - true).mean(dim=1).abs().mean() < 0.75 * (0.5 - true.mean(dim=1)).abs().mean()
    by_height = torch.stack([drawn.mean(dim=1).flatten(), true.mean(dim=1).flatten()])
    assert torch.corrcoef(by_height)[0, 1] > 0.8  # mountain, wood, lake
    assert 0.4 < float(drawn.std() / true.std()) < 1.5
    assert max(step_ratio(found[0], column) for column in (COLUMNS.start, COLUMNS.stop)) < 2
    assert "8 sweeps" in report
