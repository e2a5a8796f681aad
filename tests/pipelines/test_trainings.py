"""Generator, encoder and label branch on tiny networks: they learn, and stopping them changes no bit of the result."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_atelier.pipelines.editgan.inversion import InversionSettings
from latent_atelier.pipelines.editgan.recipes import (
    EncoderRecipe,
    LabelBranchRecipe,
    clean_labels,
    train_encoder,
    train_label_branch,
)
from latent_atelier.pipelines.editgan.training import EncoderTraining, SegmenterTraining
from latent_atelier.pipelines.errors import InvalidInputError, TrainingStateError
from latent_atelier.pipelines.labels import LabelMap, LabelSet, default_palette
from latent_atelier.pipelines.steps import OnStep, StepInfo, ignore
from latent_atelier.pipelines.stylegan2.recipe import StyleGAN2Recipe, train_stylegan2
from latent_atelier.pipelines.stylegan2.training import GanSettings
from latent_atelier.pipelines.training.data import PictureArray
from latent_atelier.pipelines.training.loop import CHECKPOINT, LOSSES
from tiny import Networks
from torch import nn

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = LabelSet(("background", "a", "b", "c"), default_palette(4))
GAN = StyleGAN2Recipe(resolution=16, images=96, batch=8, z_dim=8, w_dim=8, mapping_layers=2, channel_base=128,
                      channel_max=12, mirror=True, gan=GanSettings(dtype=torch.float32, r1_interval=4, ema_images=50))
ENCODER = EncoderRecipe(channel_base=128, channel_max=12, hidden=16, training=EncoderTraining(steps=12, batch=4))
Train = Callable[[Path, OnStep], nn.Module]


class Stopped(Exception):
    """Stands for a cancel."""


def stop_at(step: int) -> OnStep:
    def on_step(info: StepInfo) -> None:
        if info.step == step:
            raise Stopped

    return on_step


def pictures(count: int = 20) -> PictureArray:
    """Discs of random place and colour."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    discs = [(np.hypot(y - rng.uniform(4, 12), x - rng.uniform(4, 12)) < 4)[..., None] * rng.uniform(50, 255, 3)
             for _ in range(count)]
    return PictureArray(np.stack(discs).astype(np.uint8))


def annotated(networks: Networks, count: int = 5) -> tuple[torch.Tensor, LabelMap]:
    """Pictures of the generator, labelled by how bright they are."""
    with torch.no_grad():
        images = networks.generator.synthesis(networks.codes(count) * 0.5)[0]
    bright = images.mean(dim=1)
    bounds = torch.quantile(bright.flatten(), torch.tensor([0.4, 0.6, 0.8]))
    return images, LabelMap(torch.bucketize(bright, bounds).to(torch.uint8), LABELS)


def label_branch(networks: Networks, folder: Path, on_step: OnStep = ignore, members: int = 2, steps: int = 6):
    recipe = LabelBranchRecipe(members=members, embedding=InversionSettings(steps=4),
                               training=SegmenterTraining(steps=steps, pixels=256))
    return train_label_branch(networks.generator, networks.distance, None, *annotated(networks), recipe, folder,
                              identity={"generator": "g"}, on_step=on_step)


def trainings(networks: Networks) -> dict[str, tuple[Train, list[int]]]:
    """name -> (training, steps to stop at)"""
    official = EncoderRecipe(channel_base=128, channel_max=12, hidden=16,
                             training=EncoderTraining.official(pictures=8, epochs=12, batch=4))
    return {
        "stylegan2": (lambda folder, on_step: train_stylegan2(pictures(), GAN, folder, on_step=on_step).ema, [1, 5, 12]),
        "encoder": (lambda folder, on_step: train_encoder(networks.generator, networks.distance, pictures(), ENCODER,
                                                          folder, on_step=on_step), [3, 7]),
        "official encoder": (lambda folder, on_step: train_encoder(
            networks.generator, networks.distance, pictures(8), official, folder, on_step=on_step), [5, 14]),
        # two chunks of four steps of embedding, then two members of six: within each, and between them
        "label branch": (lambda folder, on_step: label_branch(networks, folder, on_step).segmenter, [2, 6, 11, 14, 17]),
    }


@pytest.mark.parametrize("name", ["stylegan2", "encoder", "official encoder", "label branch"])
def test_stopped_and_resumed_is_uninterrupted(networks: Networks, tmp_path: Path, name: str) -> None:
    """Bit for bit: the network, the checkpoint (optimiser, averages, random generators, data order), and the log."""
    train, stops = trainings(networks)[name]
    before = torch.random.get_rng_state()
    whole = train(tmp_path / "whole", ignore)
    for stop in stops:
        with pytest.raises(Stopped):
            train(tmp_path / "parts", stop_at(stop))
    parts = train(tmp_path / "parts", ignore)
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator is nobody's"
    for key, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[key]), key
    for file in (CHECKPOINT, LOSSES):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "parts" / file).read_bytes()


def test_another_training_in_the_folder_is_refused(networks: Networks, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train_stylegan2(pictures(), GAN, tmp_path, on_step=stop_at(1))
    with pytest.raises(TrainingStateError, match="begun with pictures"):
        train_stylegan2(pictures(19), GAN, tmp_path)
    with pytest.raises(TrainingStateError, match="batch 8, asked for is 16"):
        train_stylegan2(pictures(), StyleGAN2Recipe(**{**vars(GAN), "batch": 16}), tmp_path)
    with pytest.raises(TrainingStateError):
        train_encoder(networks.generator, networks.distance, pictures(), ENCODER, tmp_path)


@pytest.mark.parametrize("batch", [6, 12, 20])
def test_batches_the_minibatch_deviation_cannot_split_are_refused(batch: int) -> None:
    with pytest.raises(InvalidInputError, match="multiple of 8"):
        StyleGAN2Recipe(batch=batch)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / LOSSES).read_text().splitlines()]


def test_the_generator_learns_the_colours_of_its_pictures(tmp_path: Path) -> None:
    """One colour to learn: the mean colour of its samples comes at least four times closer."""
    colour = np.array([220, 60, 30], dtype=np.uint8)
    flat = PictureArray(np.broadcast_to(colour, (8, 16, 16, 3)).copy())
    target = torch.from_numpy(colour / 127.5 - 1).float()

    def distance(images: int) -> float:
        recipe = StyleGAN2Recipe(**{**vars(GAN), "images": images, "gan": GanSettings(
            lr=0.01, dtype=torch.float32, ema_images=200)})
        generator = train_stylegan2(flat, recipe, tmp_path).ema
        z = torch.randn(8, 8, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            return float((generator(z, noise="none").mean(dim=(0, 2, 3)) - target).norm())

    start = distance(8)
    assert distance(1600) < start / 4


@pytest.mark.parametrize("official", [False, True])
def test_the_encoder_learns(networks: Networks, tmp_path: Path, official: bool) -> None:
    """The error of the codes of sampled pictures falls, and so does the reconstruction error of real ones."""
    with torch.no_grad():
        real = networks.generator(torch.randn(16, 8, generator=torch.Generator().manual_seed(0)), noise="none")
    data = PictureArray(((real + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())
    training = EncoderTraining.official(16, epochs=60, batch=8) if official else EncoderTraining(steps=150, batch=8, lr=3e-3)
    if official:
        training = EncoderTraining(**{**vars(training), "lr": 3e-3, "sampled": 8})
    train_encoder(networks.generator, networks.distance, data, EncoderRecipe(**{**vars(ENCODER), "training": training}),
                  tmp_path)
    losses = rows(tmp_path)
    first, last = losses[:10], losses[-10:]
    factor = {"latent": 0.4, "mse_real": 0.4}
    for name, bound in factor.items():
        assert np.mean([r[name] for r in last]) < bound * np.mean([r[name] for r in first]), name


def test_the_official_schedule() -> None:
    """EditGAN's release: 100 epochs, real pictures from epoch index 6 on, batch 8 and 2, rate 3e-5."""
    training = EncoderTraining.official(pictures=80)
    assert (training.steps, training.real_after) == (1000, 60)
    assert (training.batch, training.sampled, training.lr, training.psi) == (8, 2, 3e-5, 0.7)
    assert (training.latent, training.perceptual, training.mse) == (5, 10, 1)


def test_real_pictures_wait_for_their_epoch(networks: Networks, tmp_path: Path) -> None:
    """Before it, what the real pictures are changes nothing; from it on it does."""
    def train(count: int, seed: int) -> dict[str, torch.Tensor]:
        training = EncoderTraining(**{**vars(EncoderTraining.official(8, batch=4)), "real_after": 3, "steps": count})
        data = PictureArray(np.random.default_rng(seed).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8))
        recipe = EncoderRecipe(**{**vars(ENCODER), "training": training})
        return train_encoder(networks.generator, networks.distance, data, recipe, tmp_path / f"{count}-{seed}").state_dict()

    for count, equal in ((3, True), (4, False)):
        a, b = train(count, 1), train(count, 2)
        assert all(torch.equal(a[key], b[key]) for key in a) == equal


def test_the_label_branch_learns(networks: Networks, tmp_path: Path) -> None:
    """Cross-entropy falls to a quarter of ln 4, the labels of its own pictures are found, the maps have their ranges."""
    steps: list[int] = []
    found = label_branch(networks, tmp_path, lambda info: steps.append(info.step) or None, members=2, steps=150)
    assert steps == list(range(1, 8 + 300 + 1))
    for member in (rows(tmp_path)[:150], rows(tmp_path)[150:]):
        assert member[0]["cross_entropy"] == pytest.approx(math.log(4), rel=0.05)
        assert np.mean([r["cross_entropy"] for r in member[-10:]]) < math.log(4) / 4
    _, truth = annotated(networks)
    assert (found.predicted.ids == truth.ids).float().mean() > 0.8
    assert found.disagreement.shape == (5, 16, 16)
    assert float(found.disagreement.min()) >= 0
    assert float(found.disagreement.max()) <= math.log(2) + 1e-6
    assert found.codes.shape == (5, networks.generator.num_ws, 8)
    assert not found.segmenter.training
    assert not any(p.requires_grad for p in found.segmenter.parameters())


def test_a_member_does_not_depend_on_how_many_there_are(networks: Networks, tmp_path: Path) -> None:
    one = label_branch(networks, tmp_path / "1", members=1).segmenter.members[0].state_dict()
    two = label_branch(networks, tmp_path / "2", members=2).segmenter.members[0].state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_label_maps_of_another_size_or_number_are_refused(networks: Networks, tmp_path: Path) -> None:
    images, labels = annotated(networks)
    for wrong in (labels.sample(0), LabelMap(labels.ids[:, :8], LABELS)):
        with pytest.raises(InvalidInputError, match="one label map of 16x16 pixels per picture"):
            train_label_branch(networks.generator, networks.distance, None, images, wrong, LabelBranchRecipe(), tmp_path)


def test_small_parts_become_background() -> None:
    ids = torch.tensor([[[1, 1, 1], [2, 2, 3], [0, 3, 3]], [[1, 2, 2], [2, 3, 3], [0, 0, 3]]], dtype=torch.uint8)
    cleaned = clean_labels(ids, 3)
    assert cleaned.tolist() == [[[1, 1, 1], [0, 0, 3], [0, 3, 3]], [[0, 2, 2], [2, 3, 3], [0, 0, 3]]]
    assert torch.equal(clean_labels(ids, 0), ids)
