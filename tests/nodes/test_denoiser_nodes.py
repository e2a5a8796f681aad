"""Denoisers in the graph: loaded, described, trained on a folder, on a picture, on a sound."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.registry import load_checkpoint, save_checkpoint
from latent_atelier.nodes.denoisers import LoadDenoiser
from latent_atelier.nodes.train_denoiser import TrainDenoiser
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.preconditioning import NetworkPrior, build_prior
from latent_atelier.runtime.context import ExecutionContext, Folders
from latent_atelier.runtime.model_cache import ModelHandle
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_thread")
COMMON = {"folder": "", "name": "mine", "crop": 16, "steps": 2, "batch": 2, "learning_rate": 0.001, "positions": True,
          "classes": False, "mirror": True, "seed": 0, "width": 8, "crop_samples": 512, "precision": "float32"}


@pytest.fixture
def place(tmp_path: Path):
    folders = Folders(input=[tmp_path / "input"], output=tmp_path / "output", temp=tmp_path, models=[tmp_path / "models"])
    with ExecutionContext(folders=folders).activate():
        yield tmp_path


def network(handle: ModelHandle) -> NetworkPrior:
    found = handle.acquire()
    assert isinstance(found, NetworkPrior)
    return found


@pytest.mark.parametrize(("options", "says"), [
    ({"labels": 7, "classes": ["day", "night"], "position_features": 5},
     "crops of 16x16 pixels, 3 channels\nclasses: day, night\ntold where along the first axis a crop lies"),
    ({"labels": 12}, "crops of 16x16 pixels, 3 channels\nclasses: 0, ..., 11"),
    ({"labels": 4, "position_features": 4}, "crops of 16x16 pixels, 3 channels\ntold where along the first axis a crop lies"),
    ({"dims": 1, "channels": 1, "sample_rate": 8000, "resolution": 64, "patch": 2},
     "crops of 64 samples at 8000 Hz, 1 channels"),
])
def test_a_denoiser_is_loaded_and_described(place: Path, options: dict, says: str) -> None:
    config = {"network": "song", "preconditioning": "edm", "resolution": 16, "channels": 3, "width": 8, "multipliers": [1, 2],
              "blocks": 1, "attention": [], "middle_attention": False, **options}
    path = place / "models" / "atelier" / "denoisers" / "tiny.safetensors"
    hints = {k: config[k] for k in ("classes", "position_features", "sample_rate", "patch") if k in config}
    save_checkpoint(path, build_prior(**config), architecture="edm-denoiser", config=hints)
    handle, about = LoadDenoiser.execute("tiny.safetensors").args
    assert about == says
    assert network(handle).labels.dim == config.get("labels", 0)
    assert network(handle).sample_rate == config.get("sample_rate")


def test_training_on_one_picture(place: Path) -> None:
    with torch.inference_mode():
        image = torch.rand(1, 40, 60, 3)
        handle, samples, curve = TrainDenoiser.execute(**COMMON, image=image).args
    assert network(handle).labels.features == 6
    assert samples.shape[0] == curve.shape[0] == 1
    assert network(handle)(torch.zeros(1, 3, 24, 32), torch.ones(1)).shape == (1, 3, 24, 32)
    saved = load_checkpoint(place / "models" / "atelier" / "denoisers" / "mine.safetensors")
    assert (saved.fingerprint, saved.config["patch"]) == (handle.fingerprint, 2)


def test_training_on_sound(place: Path) -> None:
    audio = {"waveform": torch.randn(2, 2, 3000).cumsum(2) / 60, "sample_rate": 16000}
    handle, samples, _ = TrainDenoiser.execute(**COMMON, audio=audio).args
    assert (handle.config["dims"], handle.config["channels"], handle.config["sample_rate"]) == (1, 2, 16000)
    assert samples.shape[3] == 3
    assert network(handle)(torch.zeros(1, 2, 768), torch.ones(1)).shape == (1, 2, 768)


def test_training_on_class_folders(place: Path) -> None:
    for number, name in enumerate(("sea", "wood")):
        folder = place / "input" / "pictures" / name
        folder.mkdir(parents=True)
        picture = Image.effect_noise((32 + 8 * number, 40), 90).convert("RGB")
        picture.save(folder / "a.png")
    handle = TrainDenoiser.execute(**{**COMMON, "folder": "pictures", "classes": True, "positions": False}).args[0]
    assert handle.config["classes"] == ["sea", "wood"]
    assert TrainDenoiser.validate_inputs("pictures") is True
    assert "no folder 'none'" in str(TrainDenoiser.validate_inputs("none"))


def test_exactly_one_source(place: Path) -> None:
    with pytest.raises(InvalidInputError, match="give exactly one"):
        TrainDenoiser.execute(**COMMON)
    with pytest.raises(InvalidInputError, match="give exactly one"):
        TrainDenoiser.execute(**{**COMMON, "folder": "pictures"}, image=torch.rand(1, 32, 32, 3))
