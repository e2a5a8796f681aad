"""Two processes that train together do what one does with twice the batch; and stop together."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from joint import TRAININGS, member, pictures
from latent_atelier.pipelines.steps import ignore
from latent_atelier.pipelines.training.data import PictureStream, seeded
from latent_atelier.pipelines.training.loop import LOSSES
from latent_atelier.pipelines.training.together import ALONE, Group

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="torch.distributed has no FileStore there")


def spawn(name: str, folder: Path, *, stops: bool = False) -> None:
    mp.spawn(member, args=(name, folder, stops), nprocs=2)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", TRAININGS)
def test_two_processes_equal_one_with_twice_the_batch(tmp_path: Path, name: str) -> None:
    spawn(name, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = TRAININGS[name](tmp_path / "alone", 4, ALONE, ignore).state_dict()
    for key, value in alone.items():
        assert torch.equal(first[key], second[key]), key
        if key.endswith("weight"):
            assert (first[key] - value).norm() <= 2e-3 * value.norm(), key
    assert len((tmp_path / "training" / LOSSES).read_text().splitlines()) == 3


@pytest.mark.usefixtures("one_thread")
def test_when_one_stops_all_stop_and_the_checkpoint_is_gone_on_with(tmp_path: Path) -> None:
    spawn("unit", tmp_path, stops=True)
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["TrainingStoppedError", "Stop"]
    (tmp_path / "store").unlink(missing_ok=True)
    spawn("unit", tmp_path)
    parts = torch.load(tmp_path / "0.pt", weights_only=True)
    (tmp_path / "whole").mkdir()
    spawn("unit", tmp_path / "whole")
    for key, value in torch.load(tmp_path / "whole" / "0.pt", weights_only=True).items():
        assert torch.equal(parts[key], value), key


def test_shares_make_the_whole_batch() -> None:
    whole = PictureStream(pictures(5, 1), rng=seeded(0), mirror=True)
    parts = [PictureStream(pictures(5, 1), rng=seeded(0), mirror=True, group=Group(rank, 2)) for rank in (0, 1)]
    for _ in range(4):
        batch, shares = whole.next(4), [part.next(2) for part in parts]
        assert torch.equal(batch[0::2], shares[0])
        assert torch.equal(batch[1::2], shares[1])
