"""`atelier train`: files, exit codes, Ctrl-C, and the sentences for wrong input."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_atelier.checkpoints.registry import load_checkpoint, save_checkpoint
from latent_atelier.headless import cli
from latent_atelier.pipelines.editgan.dataset import DatasetSettings, export_dataset
from latent_atelier.pipelines.labels import LabelSet, default_palette
from latent_atelier.pipelines.sound_files import write_wav
from latent_atelier.pipelines.training.loop import CHECKPOINT, CURVES, LOSSES
from PIL import Image
from tiny import tiny_networks

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = LabelSet(("background", "a", "b", "c"), default_palette(4))
TINY = ["--channel-base", "128", "--channel-max", "8"]
GAN = ["train", "stylegan2", "--pictures", "pictures", "--resolution", "16", "--kimg", "1", "--batch", "248",
       "--latent-size", "8", "--mapping-layers", "2", "--precision", "float32", *TINY]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with pictures, tiny networks and a labelled dataset."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / "pictures" / f"{number}.png")
    networks = tiny_networks()
    save_checkpoint(tmp_path / "g.safetensors", networks.generator, architecture="stylegan2-generator")
    save_checkpoint(tmp_path / "p.safetensors", networks.distance.discriminator, architecture="stylegan2-discriminator")
    export_dataset(networks.generator, networks.segmenter, LABELS, DatasetSettings(count=4, drop=0), tmp_path / "set")
    return tmp_path


def test_a_generator_from_a_folder(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*GAN, "--out", "out", "--sample-every", "2"]) == 0
    assert capsys.readouterr().out.split() == [str(Path("out/generator.safetensors")), str(Path("out/perceptual.safetensors"))]
    assert load_checkpoint("out/generator.safetensors").config["resolution"] == 16
    assert load_checkpoint("out/perceptual.safetensors").generator == load_checkpoint("out/generator.safetensors").fingerprint
    assert sorted(os.listdir("out")) == [CHECKPOINT, "generator.safetensors", LOSSES, CURVES, "perceptual.safetensors",
                                         *(f"samples_{n:07d}.png" for n in (2, 4, 5))]
    assert cli.main([*GAN, "--out", "out", "--seed", "1"]) == 2
    assert "begun with seed 0, asked for is 1" in capsys.readouterr().err


def test_denoisers(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["train", "denoiser", "--steps", "2", "--batch", "2", "--width", "8"]
    assert cli.main([*common, "--out", "a", "--pictures", "pictures", "--crop", "8", "--patch", "1"]) == 0
    assert capsys.readouterr().out.split() == [str(Path("a/denoiser.safetensors"))]
    assert load_checkpoint("a/denoiser.safetensors").config["position_features"] == 6
    write_wav(place / "a.wav", torch.randn(1, 2000).cumsum(1) / 40, 4000)
    assert cli.main([*common, "--out", "b", "--sound", "a.wav", "--crop", "512"]) == 0
    config = load_checkpoint("b/denoiser.safetensors").config
    assert (config["dims"], config["sample_rate"], config["block"]) == (1, 4000, 32)
    assert cli.main([*common, "--out", "a", "--pictures", "pictures/0.png", "--crop", "8", "--patch", "1"]) == 2
    assert "holds a training begun with" in capsys.readouterr().err
    assert cli.main([*common, "--out", "c", "--pictures", "pictures/0.png", "--crop", "32"]) == 2
    assert "16x16 pixels is smaller than the crops of 32x32" in capsys.readouterr().err


def test_translators(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "classes").mkdir()
    for number, name in enumerate("ab"):
        (place / "classes" / name).mkdir()
        shutil.copy(place / "pictures" / f"{number}.png", place / "classes" / name)
    small = ["--resolution", "32", "--width", "4", "--dis-width", "4", "--steps", "2", "--batch", "2", "--sample-every", "0"]
    assert cli.main(["train", "funit", "--classes", "classes", "--out", "f", *small]) == 0
    assert cli.main(["train", "unit", "--a", "pictures", "--b", "pictures", "--out", "u", *small, "--resolution", "64"]) == 0
    assert capsys.readouterr().out.split() == [str(Path("f/funit.safetensors")), str(Path("u/unit.safetensors"))]
    assert [load_checkpoint(path).architecture for path in ("f/funit.safetensors", "u/unit.safetensors")] == ["funit", "unit"]
    further = ["train", "funit", "--classes", "classes", "--out", "h", *small, "--shots", "2", "--discriminator-first", "1"]
    assert cli.main([*further, "--start", "u/unit.safetensors"]) == 2
    assert "u/unit.safetensors is a unit, expected a funit" in capsys.readouterr().err
    assert cli.main([*further, "--width", "8", "--start", "f/funit.safetensors"]) == 0
    assert load_checkpoint("h/funit.safetensors").config == load_checkpoint("f/funit.safetensors").config
    assert cli.main(["train", "funit", "--classes", "pictures", "--out", "g", *small]) == 2
    assert "holds 0 classes" in capsys.readouterr().err
    assert cli.main(["train", "unit", "--a", "pictures", "--b", "pictures", "--out", "s", *small, "--form", "shared"]) == 0
    assert load_checkpoint("s/unit.safetensors").architecture == "unit-shared"


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs a POSIX host")
def test_torchrun_trains_in_two_processes(place: Path) -> None:
    small = ["--resolution", "32", "--width", "4", "--dis-width", "4", "--steps", "2", "--batch", "1", "--sample-every", "0"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m",
               "latent_atelier.headless", "train"]
    done = subprocess.run([*command, "unit", "--a", "pictures", "--b", "pictures", "--out", "u", "--form", "shared", *small],
                          capture_output=True, text=True, check=False, env=dict(os.environ, OMP_NUM_THREADS="1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(Path("u/unit.safetensors"))], "the first process writes, and tells, once"
    assert len((place / "u" / LOSSES).read_text().splitlines()) == 2
    assert load_checkpoint("u/unit.safetensors").architecture == "unit-shared"
    assert cli.main(["train", "unit", "--a", "pictures", "--b", "pictures", "--out", "u", "--form", "shared", *small]) == 0


def test_what_one_process_trains_says_so(place: Path, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main([*GAN, "--out", "out"]) == 2
    assert "The training of a stylegan2 runs in one process; start it without torchrun." in capsys.readouterr().err


def test_an_encoder_and_a_label_branch(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    networks = ["--generator", "g.safetensors", "--perceptual", "p.safetensors"]
    assert cli.main(["train", "encoder", *networks, "--pictures", "pictures", "--out", "e", "--steps", "2", "--batch", "2",
                     "--hidden", "8", *TINY]) == 0
    assert cli.main(["train", "label-branch", *networks, "--encoder", "e/encoder.safetensors", "--pictures", "set/images",
                     "--labels", "set/masks", "--members", "2", "--steps", "2", "--embedding-steps", "1", "--out", "b"]) == 0
    captured = capsys.readouterr()
    assert captured.out.split() == [str(Path("e/encoder.safetensors")), str(Path("b/label_branch.safetensors"))]
    assert "of the pixels labelled as annotated" in captured.err
    branch = load_checkpoint("b/label_branch.safetensors")
    assert branch.labels == LABELS
    assert branch.generator == load_checkpoint("g.safetensors").fingerprint


def test_the_first_interrupt_ends_the_step_at_hand(place: Path) -> None:
    """And the checkpoint it leaves is gone on with to the network of an uninterrupted training."""
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    command = [sys.executable, "-m", "latent_atelier.headless", *GAN]
    command[command.index("--kimg") + 1] = "3"
    first = subprocess.Popen([*command, "--out", "parts"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             env=environment)
    while first.poll() is None and not (place / "parts" / LOSSES).exists():
        time.sleep(0.01)
    while first.poll() is None and not (place / "parts" / LOSSES).read_text():
        time.sleep(0.01)
    first.send_signal(signal.SIGINT)
    out, error = first.communicate(timeout=60)
    assert (first.returncode, out) == (130, ""), error
    assert "the same command goes on from there" in error
    assert (place / "parts" / CHECKPOINT).is_file()
    assert cli.main([*command[3:], "--out", "parts"]) == 0
    assert cli.main([*command[3:], "--out", "whole"]) == 0
    parts, whole = (load_checkpoint(f"{name}/generator.safetensors") for name in ("parts", "whole"))
    assert torch.equal(parts.module.synthesis.b16.conv1.weight, whole.module.synthesis.b16.conv1.weight)
    assert parts.fingerprint == whole.fingerprint


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["stylegan2", "--pictures", "none"], "There is no folder none"),
    (["stylegan2", "--pictures", "pictures", "--batch", "6"], "multiple of 8, got 6"),
    (["stylegan2", "--pictures", "pictures", "--kimg", "0"], "images of a StyleGAN2 training is at least 1"),
    (["encoder", "--pictures", "pictures", "--generator", "g.safetensors", "--perceptual", "p.safetensors", "--batch", "0"],
     "at least 1 step of at least 1 picture"),
    (["stylegan2", "--pictures", "pictures", "--resolution", "20"], "power of two"),
    (["encoder", "--pictures", "pictures", "--generator", "p.safetensors", "--perceptual", "p.safetensors"],
     "p.safetensors is a stylegan2-discriminator, expected a stylegan2-generator"),
    (["label-branch", "--pictures", "pictures", "--labels", "set/none", "--generator", "g.safetensors", "--perceptual",
      "p.safetensors"], "The picture 0.png has no label map"),
])
def test_wrong_input(place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str) -> None:
    assert cli.main(["train", *arguments, "--out", "out"]) == 2
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert captured.out == ""
    assert not (place / "out").exists()
