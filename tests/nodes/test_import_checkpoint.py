"""Import Checkpoint puts an official file where the loaders look, once, and leaves nothing behind when it cannot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.headless.cli import main
from latent_atelier.pipelines.stylegan2.generator import Generator


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An input folder with a state dict and a file that is no network, and a graph that imports."""
    (tmp_path / "input").mkdir()
    (tmp_path / "models").mkdir()
    torch.manual_seed(0)
    generator = Generator(z_dim=8, c_dim=0, w_dim=8, resolution=8, channels={4: 8, 8: 8}, mapping_layers=2)
    torch.save(generator.state_dict(), tmp_path / "input" / "faces.pt")
    torch.save({"optimizer": 1}, tmp_path / "input" / "other.pt")
    return tmp_path


def run(place: Path, file: str, **inputs: str) -> int:
    graph = {"1": {"class_type": "AtelierImportCheckpoint",
                   "inputs": {"file": file, "name": "", "part": "generator", "licence": "MIT", **inputs}}}
    (place / "graph.json").write_text(json.dumps(graph))
    return main(["run", str(place / "graph.json"), "--quiet", "--input", str(place / "input"), "--output",
                 str(place / "output"), "--models", str(place / "models")])


def test_an_official_file_is_imported_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "faces.pt", name="my faces") == 0
    target = place / "models" / "atelier" / "stylegan2" / "my faces.safetensors"
    assert load_checkpoint(target).license == "MIT"
    assert run(place, "faces.pt", name="my faces") == 1
    assert "choose another name" in capsys.readouterr().err
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(("file", "words"), [("other.pt", "no network that this version can import"),
                                             ("none.pt", "copy the official file there")])
def test_what_cannot_be_imported_leaves_nothing(place: Path, capsys: pytest.CaptureFixture[str], file: str, words: str) -> None:
    assert run(place, file) == 1
    assert words in capsys.readouterr().err
    assert not list((place / "models").rglob("*.*"))
