"""The training nodes on tiny networks, inside the host's inference mode: what they save, cancel and go on with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_atelier.checkpoints.registry import load_checkpoint, save_checkpoint
from latent_atelier.nodes.datasets import ExportLabelledDataset
from latent_atelier.nodes.train_translators import TrainFUNIT, TrainUNIT
from latent_atelier.nodes.training import TrainEncoder, TrainLabelBranch, TrainStyleGAN2
from latent_atelier.nodes.translation import EncodeClass, TranslateDomain, TranslateToClass
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.labels import LabelMap, LabelSet, default_palette
from latent_atelier.pipelines.training.loop import CHECKPOINT
from latent_atelier.runtime.context import Cancelled, ExecutionContext, Folders
from latent_atelier.runtime.model_cache import ModelHandle, load_model
from PIL import Image
from tiny import tiny_networks

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = LabelSet(("background", "a", "b", "c"), default_palette(4))
GAN = {"pictures": "pictures", "name": "g", "resolution": "32", "thousand_images": 1, "batch": 250 - 250 % 8,
       "learning_rate": 0.002, "r1_gamma": 1.0, "mirror": True, "seed": 3, "latent_size": 8, "mapping_layers": 2,
       "channel_base": 128, "channel_max": 8, "precision": "float32"}
ENCODER = {"pictures": "pictures", "name": "e", "preset": "ours", "steps": 4, "batch": 2, "mirror": False, "seed": 0,
           "channel_base": 128, "channel_max": 8, "hidden": 8}
BRANCH = {"name": "b", "members": 2, "steps": 3, "embedding_steps": 2, "learning_rate": 0.001, "pixels": 64, "balance": 0.5,
          "min_pixels": 0, "seed": 0}


@pytest.fixture
def context(tmp_path: Path) -> Iterator[ExecutionContext]:
    """A headless run with five pictures in input/pictures."""
    (tmp_path / "input" / "pictures").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(
            tmp_path / "input" / "pictures" / f"{number}.png")
    run = ExecutionContext(Folders(input=[tmp_path / "input"], output=tmp_path / "output", temp=tmp_path / "temp",
                                   models=[tmp_path / "models"]))
    with run.activate(), torch.inference_mode():
        yield run


@pytest.fixture
def handles(tmp_path: Path, context: ExecutionContext) -> dict[str, ModelHandle]:
    """Tiny networks, loaded from files."""
    networks, place = tiny_networks(), tmp_path / "models" / "tiny"
    fingerprint = save_checkpoint(place / "g.safetensors", networks.generator, architecture="stylegan2-generator")
    save_checkpoint(place / "p.safetensors", networks.distance.discriminator, architecture="stylegan2-discriminator")
    save_checkpoint(place / "s.safetensors", networks.segmenter, architecture="editgan-segmenter", labels=LABELS,
                    generator=fingerprint, config={"feature_channels": list(networks.generator.feature_channels())})
    return {name: load_model(place / f"{name[0]}.safetensors") for name in ("generator", "perceptual", "segmenter")}


def cancelling(context: ExecutionContext, at: int) -> None:
    """Cancel the run when its node has done so many steps."""
    def on_progress(step: int, total: int) -> None:
        if step >= at:
            context.cancel()

    context.on_progress = on_progress


def test_a_generator_is_trained_saved_and_gone_on_with(context: ExecutionContext, tmp_path: Path) -> None:
    cancelling(context, 2)
    with pytest.raises(Cancelled):
        TrainStyleGAN2.execute(**GAN)
    assert (tmp_path / "output" / "training" / "stylegan2" / "g" / CHECKPOINT).is_file()
    assert not (tmp_path / "models" / "atelier").exists()
    with ExecutionContext(context.folders).activate():
        generator, perceptual, samples, curve = TrainStyleGAN2.execute(**GAN).result
        again = TrainStyleGAN2.execute(**GAN).result[0]
    stored = load_checkpoint(tmp_path / "models" / "atelier" / "stylegan2" / "g.safetensors")
    assert stored.fingerprint == generator.fingerprint == again.fingerprint
    assert perceptual.generator == generator.fingerprint
    assert samples.shape == (8, 32, 32, 3)
    assert float(samples.min()) >= 0
    assert curve.shape[0] == 1
    whole = ExecutionContext(Folders(context.folders.input, tmp_path / "o2", tmp_path / "t", [tmp_path / "m2"]))
    with whole.activate():
        assert TrainStyleGAN2.execute(**GAN).result[0].fingerprint == generator.fingerprint


@pytest.mark.parametrize("preset", ["ours", "official"])
def test_an_encoder_belongs_to_its_generator(context: ExecutionContext, handles: dict[str, ModelHandle],
                                             preset: str) -> None:
    encoder, samples, _ = TrainEncoder.execute(handles["generator"], handles["perceptual"],
                                               **(ENCODER | {"preset": preset})).result
    assert encoder.generator == handles["generator"].fingerprint
    assert encoder.acquire()(torch.zeros(1, 3, 16, 16)).shape == (1, 6, 8)
    assert samples.shape == (1, 32, 80, 3)


@pytest.mark.parametrize(("form", "architecture"), [("separate", "unit"), ("shared", "unit-shared")])
def test_a_unit_of_either_form(context: ExecutionContext, form: str, architecture: str) -> None:
    found, samples, curve = TrainUNIT.execute("pictures", "pictures", "u", 64, 2, 1, 0.0001, True, 0, 4, 4, 10.0, form).result
    assert load_checkpoint(context.folders.models[0] / "atelier" / "unit" / "u.safetensors").architecture == architecture
    images = torch.rand(2, 20, 30, 3)
    assert TranslateDomain.execute(found, images, "a to b", "mean", 0).result[0].shape == images.shape
    assert samples.shape == (1, 4 * 64, 5 * 64, 3)
    assert curve.shape[1] > 1


def test_a_funit_and_what_is_made_of_it(context: ExecutionContext, tmp_path: Path) -> None:
    """The second training starts from the first one's translator and shows every class by one to three pictures."""
    for name in ("a", "b"):
        shutil.copytree(tmp_path / "input" / "pictures", tmp_path / "input" / "classes" / name)
    few = {"pictures": "classes", "resolution": 32, "steps": 2, "batch": 2, "learning_rate": 0.0001, "mirror": True, "seed": 0,
           "discriminator_width": 4, "reconstruction_weight": 0.1, "penalty": "published"}
    first, samples, _ = TrainFUNIT.execute(name="f", width=4, **few).result
    assert samples.shape == (1, 3 * 32, 8 * 32, 3)
    further = TrainFUNIT.execute(name="g", width=16, shots=3, discriminator_first=1, start=first, **few).result[0]
    stored = [load_checkpoint(tmp_path / "models" / "atelier" / "funit" / f"{name}.safetensors") for name in ("f", "g")]
    assert stored[0].config == stored[1].config
    assert further.fingerprint == stored[1].fingerprint != first.fingerprint == stored[0].fingerprint
    image = torch.rand(2, 40, 32, 3)
    code = EncodeClass.execute(further, image, "class").result[0]
    assert TranslateToClass.execute(further, image, code).result[0].shape == image.shape


def test_a_label_branch_from_pictures_larger_than_the_generator(context: ExecutionContext,
                                                                handles: dict[str, ModelHandle]) -> None:
    """Pictures and maps take the same centre square."""
    ids = torch.zeros(3, 32, 48, dtype=torch.uint8)
    ids[:, :, 24:] = 1
    images = torch.rand(3, 32, 48, 3)
    segmenter, predicted, shown, disagreement, _ = TrainLabelBranch.execute(
        images, LabelMap(ids, LABELS), handles["generator"], handles["perceptual"], **BRANCH).result
    assert segmenter.labels == LABELS
    assert segmenter.generator == handles["generator"].fingerprint
    assert predicted.ids.shape == (3, 16, 16)
    assert shown.shape == (3, 16, 16, 3)
    assert disagreement.shape == (3, 16, 16)
    assert float(disagreement.max()) <= 1
    exported = ExportLabelledDataset.execute(handles["generator"], segmenter, "d", 3, 0, 0.9, 0.0, True).result
    assert exported[1].shape == (3, 16, 16, 3)


def test_half_of_the_square_stays_half(context: ExecutionContext) -> None:
    from latent_atelier.nodes.sockets import labels_to_network
    ids = torch.zeros(1, 32, 48, dtype=torch.uint8)
    ids[:, :, 24:] = 1
    assert labels_to_network(LabelMap(ids, LABELS), 16).ids[0].tolist() == [[0] * 8 + [1] * 8] * 16


def test_an_export_is_cancelled_and_gone_on_with(context: ExecutionContext, handles: dict[str, ModelHandle]) -> None:
    arguments = (handles["generator"], handles["segmenter"], "sets/d", 6, 0, 0.9, 0.34, True)
    cancelling(context, 3)
    with pytest.raises(Cancelled):
        ExportLabelledDataset.execute(*arguments)
    with ExecutionContext(context.folders).activate():
        folder, images, label_map = ExportLabelledDataset.execute(*arguments).result
    assert Path(folder) == context.folders.output / "sets" / "d"
    assert sorted(path.name for path in Path(folder).iterdir()) == [".scores.jsonl", "coco.json", "dataset.json", "images",
                                                                    "masks"]
    assert len(images) == len(label_map) == 4
    assert label_map.labels == LABELS


def test_what_another_hand_made_is_not_overwritten(context: ExecutionContext, tmp_path: Path) -> None:
    other = tmp_path / "models" / "atelier" / "stylegan2" / "g.safetensors"
    other.parent.mkdir(parents=True)
    other.write_bytes(b"mine")
    with pytest.raises(InvalidInputError, match="choose another name"):
        TrainStyleGAN2.execute(**GAN)
    with pytest.raises(InvalidInputError, match="does not lie inside"):
        TrainStyleGAN2.execute(**(GAN | {"name": "../../g"}))
    assert other.read_bytes() == b"mine"


def test_missing_folders_are_said_before_anything_runs(context: ExecutionContext) -> None:
    assert TrainStyleGAN2.validate_inputs("pictures") is True
    assert TrainStyleGAN2.validate_inputs(None) is True
    assert "There is no folder 'none' in" in TrainEncoder.validate_inputs("none")
    assert "does not lie inside" in TrainEncoder.validate_inputs("../..")
    bare = ExecutionContext(Folders(context.folders.input, context.folders.output, context.folders.temp))
    with bare.activate(), pytest.raises(InvalidInputError, match="name one with --models"):
        TrainStyleGAN2.execute(**GAN)
