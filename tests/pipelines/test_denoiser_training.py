"""Trainings of denoisers: they learn what can be known, go on with the same numbers, and refuse what cannot be trained on."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError, TrainingStateError
from latent_atelier.pipelines.langevin.crops import (
    PictureCrops,
    PictureFiles,
    PicturesInMemory,
    SoundCrops,
    by_folder,
)
from latent_atelier.pipelines.langevin.position import Labels, position_features
from latent_atelier.pipelines.langevin.training import DenoiserRecipe, DenoiserSettings, stated, train_denoiser
from latent_atelier.pipelines.sound_files import read_wav, read_wavs, write_wav
from latent_atelier.pipelines.training.data import seeded
from PIL import Image

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = {"width": 8, "multipliers": (1, 2), "batch": 8}


def ramp(height: int = 64, width: int = 80) -> torch.Tensor:
    """uint8 [3,H,W], brighter from top to bottom."""
    return torch.linspace(0, 255, height).to(torch.uint8)[None, :, None].expand(3, height, width).contiguous()


def test_crops_are_crops_and_know_their_place() -> None:
    data = PictureCrops(PicturesInMemory([ramp()]), 16, labels=Labels((), 4))
    crops, classes, positions = data.draw(64, seeded(0))
    assert crops.shape == (64, 3, 16, 16)
    assert classes.tolist() == [-1] * 64
    found = (crops.mean(dim=(1, 2, 3)) + 1) / 2
    torch.testing.assert_close(found, positions, rtol=0.02, atol=0.01)
    assert float(positions.min()) >= 8 / 64
    assert float(positions.max()) <= 56 / 64
    assert torch.equal(crops, data.draw(64, seeded(0))[0])


def test_pictures_that_wrap_are_seen_across_their_ends() -> None:
    columns = torch.arange(32, dtype=torch.uint8)[None, None].expand(3, 16, 32).contiguous()
    data = PictureCrops(PicturesInMemory([columns]), 16, wrap=True, mirror=False)
    firsts = ((data.draw(200, seeded(1))[0][:, 0, 0] + 1) * 127.5).round().int()
    assert set(firsts[:, 0].tolist()) == set(range(32))
    assert torch.equal((firsts[:, :1] + torch.arange(16)) % 32, firsts)


def test_folders_of_pictures_of_any_size(tmp_path: Path) -> None:
    for name, size, level in (("sea/a.png", (40, 30), 10), ("sea/b.jpg", (90, 60), 30), ("land/c.png", (30, 200), 200)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", size, (level, level, level)).save(tmp_path / name)
    files = PictureFiles(tmp_path, longest=100)
    assert [tuple(files[i].shape) for i in range(3)] == [(3, 100, 15), (3, 30, 40), (3, 60, 90)]
    chosen, names = by_folder(files)
    assert (chosen, names) == ([0, 1, 1], ("land", "sea"))
    files = PictureFiles(tmp_path)
    data = PictureCrops(files, 24, classes=chosen, labels=Labels(names))
    crops, classes, _ = data.draw(32, seeded(0))
    assert torch.equal(crops.mean(dim=(1, 2, 3)) > 0, classes == 0)
    with pytest.raises(InvalidInputError, match="pixels is smaller than the crops of 64x64"):
        PictureCrops(files, 64).draw(32, seeded(0))
    with pytest.raises(InvalidInputError, match="no folder of a class"):
        by_folder(PictureFiles(tmp_path / "sea"))
    assert len(PictureFiles(tmp_path / "sea" / "a.png")) == 1
    with pytest.raises(InvalidInputError, match="no file or folder"):
        PictureFiles(tmp_path / "none")


def test_sound_is_drawn_evenly() -> None:
    sounds = [torch.zeros(1, 100), torch.ones(1, 1000)]
    crops, _, positions = SoundCrops(sounds, 64).draw(2000, seeded(0))
    assert crops.shape == (2000, 1, 64)
    assert float(crops.mean()) == pytest.approx(937 / 974, abs=0.02)
    assert 0.03 < float(positions.min()) < float(positions.max()) < 0.97
    with pytest.raises(InvalidInputError, match="100 samples is shorter than the crops of 128"):
        SoundCrops(sounds, 128)
    with pytest.raises(InvalidInputError, match="same channels"):
        SoundCrops([torch.zeros(1, 99), torch.zeros(2, 99)], 32)


def test_learns_a_position_that_is_all_there_is_to_know(tmp_path: Path) -> None:
    """Crops of a ramp are constant up to their position; told it, the denoiser needs no picture."""
    data = PictureCrops(PicturesInMemory([ramp()]), 16, labels=Labels((), 6), mirror=False)
    recipe = DenoiserRecipe(**TINY, patch=2, steps=300, settings=DenoiserSettings(lr=3e-3))
    trainer = train_denoiser(data, recipe, tmp_path)
    crops, classes, positions = data.draw(16, seeded(9))
    labels = data.labels.encode(classes, positions)
    x = 4 * torch.randn(crops.shape, generator=seeded(10))
    with torch.no_grad():
        found = trainer.ema(crops + x, torch.full((16,), 4.0), labels)
    assert float((found - crops).square().mean().sqrt()) < 0.4 * float(crops.std())
    losses = [json.loads(line)["loss"] for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert np.mean(losses[-30:]) < 0.75 * np.mean(losses[:5])


def test_a_training_starts_from_given_weights(tmp_path: Path) -> None:
    data = PictureCrops(PicturesInMemory([ramp()]), 16, mirror=False)
    recipe = DenoiserRecipe(**TINY, patch=2, steps=2)
    start = train_denoiser(data, recipe, tmp_path / "first").ema
    before = {name: value.clone() for name, value in start.state_dict().items()}
    still = dataclasses.replace(recipe, seed=7, steps=1, settings=DenoiserSettings(lr=1e-9))
    after = train_denoiser(data, still, tmp_path / "second", start=start).ema.state_dict()
    for name, value in start.state_dict().items():
        assert torch.equal(value, before[name])
        assert torch.allclose(value, after[name], atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_stopped_training_ends_with_the_same_numbers(tmp_path: Path, precision: str) -> None:
    data = SoundCrops([torch.randn(1, 600, generator=seeded(3)).cumsum(1) / 30], 64)
    recipe = DenoiserRecipe(**TINY, patch=4, steps=6, settings=DenoiserSettings(decay=3, precision=precision))

    class Stop(Exception):
        pass

    def stop(info) -> None:
        if info.step == 3:
            raise Stop

    whole = train_denoiser(data, recipe, tmp_path / "whole")
    with pytest.raises(Stop):
        train_denoiser(data, recipe, tmp_path / "parts", on_step=stop)
    parts = train_denoiser(data, recipe, tmp_path / "parts")
    for a, b in zip(whole.ema.state_dict().values(), parts.ema.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(TrainingStateError, match="batch"):
        train_denoiser(data, DenoiserRecipe(**{**TINY, "batch": 4}, patch=4, steps=6,
                                            settings=DenoiserSettings(decay=3, precision=precision)), tmp_path / "parts")
    assert (tmp_path / "whole" / "samples_0000006.png").is_file()
    assert stated(whole.ema) == {"preconditioning": "edm", "patch": 4, "sigma_data": whole.ema.sigma_data, "classes": [],
                                 "position_features": 0, "poses": False, "sample_rate": None}


def test_the_global_random_state_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    data = PictureCrops(PicturesInMemory([ramp()]), 16)
    train_denoiser(data, DenoiserRecipe(**TINY, patch=2, steps=2), tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_nothing_to_learn(tmp_path: Path) -> None:
    data = PictureCrops(PicturesInMemory([torch.zeros(3, 64, 64, dtype=torch.uint8)]), 16)
    with pytest.raises(InvalidInputError, match="all the same"):
        train_denoiser(data, DenoiserRecipe(**TINY), tmp_path)


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_files(tmp_path: Path, channels: int) -> None:
    sound = torch.sin(torch.arange(channels * 500).reshape(channels, 500) / 7.0)
    write_wav(tmp_path / "a.wav", sound, 8000)
    found, rate = read_wav(tmp_path / "a.wav")
    assert rate == 8000
    torch.testing.assert_close(found, sound, rtol=0, atol=1e-4)
    assert read_wavs(tmp_path)[0][0].shape == sound.shape


@pytest.mark.parametrize(("width", "value", "packed"), [
    (1, 0.5, struct.pack("B", 192)), (2, -0.5, struct.pack("<h", -16384)), (3, 0.25, (2**21).to_bytes(3, "little")),
    (3, -0.25, (-(2**21)).to_bytes(3, "little", signed=True)), (4, -1.0, struct.pack("<i", -(2**31)))])
def test_wav_widths(tmp_path: Path, width: int, value: float, packed: bytes) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(width)
        file.setframerate(100)
        file.writeframes(packed * 3)
    assert math.isclose(float(read_wav(tmp_path / "a.wav")[0][0, 1]), value, abs_tol=1e-6)


def test_wav_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF but no more")
    with pytest.raises(InvalidInputError, match=r"a\.wav .* cannot be read"):
        read_wav(tmp_path / "a.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInputError, match="holds no sounds"):
        read_wavs(tmp_path / "empty")


@given(st.integers(0, 43), st.integers(0, 255), st.integers(0, 60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_damaged_wav_files_are_refused_or_read(tmp_path: Path, at: int, value: int, cut: int) -> None:
    write_wav(tmp_path / "a.wav", torch.linspace(-1, 1, 16).reshape(2, 8), 4000)
    data = bytearray((tmp_path / "a.wav").read_bytes())
    data[at] = value
    (tmp_path / "a.wav").write_bytes(data[:len(data) - cut])
    try:
        sound, rate = read_wav(tmp_path / "a.wav")
    except InvalidInputError as error:
        assert "a.wav" in str(error)  # noqa: PT017
    else:
        assert sound.ndim == 2
        assert torch.isfinite(sound).all()
        assert rate > 0


def test_features_without_any() -> None:
    assert position_features(torch.zeros(3), 0).shape == (3, 0)
