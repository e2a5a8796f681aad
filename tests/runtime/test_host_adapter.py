"""Folders, schemas, progress and cancelling without a host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.steps import StepInfo
from latent_atelier.runtime import host
from latent_atelier.runtime.context import ExecutionContext, Folders
from latent_atelier.runtime.folders import save_targets
from latent_atelier.runtime.host import Cancelled, Progress, autograd, io
from PIL import Image


@pytest.fixture
def context(tmp_path: Path):
    for name in ("input", "output", "temp", "models"):
        (tmp_path / name).mkdir()
    made = ExecutionContext(Folders([tmp_path / "input"], tmp_path / "output", tmp_path / "temp", [tmp_path / "models"]))
    with made.activate():
        yield made


def test_unknown_schema_fields_are_dropped() -> None:
    schema = host.schema(node_id="X", display_name="X", from_the_future=1)
    assert schema.node_id == "X"
    number = host.node_input(io.Int, "n", default=1, min=0, from_the_future=2)
    assert number.as_dict() == {"optional": False, "default": 1, "min": 0}


@pytest.mark.parametrize("name", ["../secret.txt", "a/../../secret.txt", "/etc/passwd", "x\0y", ""])
def test_input_paths_stay_inside(context: ExecutionContext, name: str) -> None:
    with pytest.raises(InvalidInputError):
        host.input_path(name)


def test_annotated_input_paths(context: ExecutionContext, tmp_path: Path) -> None:
    (tmp_path / "output" / "a.png").write_bytes(b"x")
    assert host.input_path("a.png [output]") == tmp_path / "output" / "a.png"
    assert host.input_path("b.png") == tmp_path / "input" / "b.png"


@pytest.mark.parametrize("prefix", ["../x", "a/../../x", "/abs/x"])
def test_save_prefixes_stay_inside(context: ExecutionContext, prefix: str) -> None:
    with pytest.raises(InvalidInputError, match="prefix"):
        save_targets(prefix, ".png")


def test_numbers_go_on_where_they_stopped(context: ExecutionContext, tmp_path: Path) -> None:
    folder = tmp_path / "output" / "cars"
    folder.mkdir()
    (folder / "red_00041_.png").write_bytes(b"")
    (folder / "red_blue_00099_.png").write_bytes(b"")
    first, second = save_targets("cars/red", ".png", count=2)
    assert (first.filename, second.filename, first.subfolder) == ("red_00042_.png", "red_00043_.png", "cars")
    assert save_targets(".hidden/x", ".png")[0].subfolder == ".hidden"
    assert save_targets("%width%x%height%", ".png", width=3, height=2)[0].filename == "3x2_00001_.png"


def test_pictures_are_the_hosts(context: ExecutionContext, tmp_path: Path) -> None:
    images = torch.tensor([[[[0.0, 0.5, 1.0], [2.0, -1.0, 0.999]]]])
    shown = host.save_images(images, "p", None)
    assert shown == {"images": [{"filename": "p_00001_.png", "subfolder": "", "type": "output"}]}
    picture = Image.open(tmp_path / "output" / "p_00001_.png")
    assert np.asarray(picture).reshape(-1, 3).tolist() == [[0, 127, 255], [255, 0, 254]]
    assert not list((tmp_path / "output").glob("*.part"))


def test_model_files_and_the_missing_one(context: ExecutionContext, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "atelier" / "edit_vectors" / "mine"
    folder.mkdir(parents=True)
    (folder / "v.safetensors").write_bytes(b"")
    (folder / "v.txt").write_bytes(b"")
    assert "mine/v.safetensors" in host.model_files("edit_vectors")
    assert "mine/v.txt" not in host.model_files("edit_vectors")
    with pytest.raises(host.MissingModelError, match="models/atelier/edit_vectors"):
        host.model_path("edit_vectors", "../v.safetensors")


def test_progress_reports_and_cancels(context: ExecutionContext) -> None:
    steps: list[tuple[int, int]] = []
    context.on_progress = lambda step, total: steps.append((step, total))
    progress = Progress(3)
    progress.on_step(StepInfo(1, 3))
    context.cancel()
    with pytest.raises(Cancelled):
        progress.on_step(StepInfo(2, 3))
    assert steps == [(1, 3)]


def test_autograd_works_inside_inference_mode() -> None:
    with torch.inference_mode():
        upstream = torch.ones(2)
        with autograd():
            x = upstream.clone().requires_grad_(True)
            (x * x).sum().backward()
        assert torch.is_inference_mode_enabled()
    assert x.grad is not None
    assert x.grad.tolist() == [2, 2]
