"""TensorFlow pickles, encoders, recognition networks and label branches: imported, they give what the originals gave."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.convert import convert
from latent_atelier.checkpoints.errors import CheckpointError, LayoutError
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.pipelines.editgan.segmentation import PixelClassifier, hidden_sizes
from latent_atelier.pipelines.editgan.style_encoders import PyramidEncoder, StyleEncoder
from latent_atelier.pipelines.errors import AtelierError
from latent_atelier.pipelines.ir_se import FaceIdentity
from latent_atelier.pipelines.labels import LabelSet
from latent_atelier.pipelines.stylegan2.discriminator import Discriminator
from latent_atelier.pipelines.stylegan2.generator import Generator
from safetensors.torch import load_file
from tensorflow_pickle import write_tensorflow_pickle
from torch import nn

CHANNELS = {4: 12, 8: 10, 16: 8}
WIDTH = 16


def randomized(module: nn.Module, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and "filter" not in name:
                tensor.add_(torch.rand_like(tensor) if "running_var" in name else torch.randn_like(tensor) * 0.1)
    return module.eval().requires_grad_(False)


def load(path: Path) -> nn.Module:
    return load_checkpoint(path).module


@pytest.mark.parametrize(("c_dim", "form"), [(0, ("skip", "resnet")), (3, ("resnet", "skip"))])
def test_tensorflow_pickles(tmp_path: Path, c_dim: int, form: tuple[str, str]) -> None:
    def generator(seed: int) -> nn.Module:
        return randomized(Generator(z_dim=9, c_dim=c_dim, w_dim=8, resolution=16, channels=CHANNELS, mapping_layers=3,
                                    architecture=form[0]), seed)

    averaged = generator(3)
    discriminator = randomized(Discriminator(c_dim=0, resolution=16, channels=CHANNELS, architecture=form[1]))
    source = write_tensorflow_pickle(tmp_path / "config-f.pkl", generator(2), discriminator, averaged)
    convert(source, tmp_path / "g.safetensors")
    convert(source, tmp_path / "d.safetensors", part="discriminator")
    z, c = torch.randn(2, 9), torch.randn(2, c_dim) if c_dim else None
    assert torch.equal(load(tmp_path / "g.safetensors")(z, c, psi=0.7), averaged(z, c, psi=0.7))
    images = torch.randn(4, 3, 16, 16)
    assert torch.equal(load(tmp_path / "d.safetensors")(images), discriminator(images))


def without_counts(module: nn.Module) -> dict[str, torch.Tensor]:
    return {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked") and k != "w_avg"}


ENCODERS = [("GradualStyleEncoder", {}), ("Encoder4Editing", {"progressive": True}),
            ("BackboneEncoder", {"pyramid": False, "in_channels": 6}),
            ("ResNetProgressiveBackboneEncoder", {"pyramid": False, "in_channels": 6, "body": "resnet34", "progressive": True})]


@pytest.mark.parametrize("namespace", [True, False])
@pytest.mark.parametrize(("kind", "form"), ENCODERS, ids=[kind for kind, _ in ENCODERS])
def test_style_encoders(tmp_path: Path, kind: str, form: dict, namespace: bool) -> None:
    options = {"encoder_type": kind, "start_from_latent_avg": True, "dataset_type": "cars_encode" if namespace else "ffhq"}
    encoder = randomized(StyleEncoder(num_ws=9, w_dim=7, width=WIDTH, rows=[32, 224] if namespace else None, **form))
    average = torch.randn(9, 7) if namespace else torch.randn(7)
    encoder.w_avg.copy_(average)
    torch.save({"state_dict": {f"encoder.{k}": v for k, v in without_counts(encoder).items()}, "latent_avg": average,
                "opts": argparse.Namespace(**options) if namespace else options}, tmp_path / "encoder.pt")
    info = convert(tmp_path / "encoder.pt", tmp_path / "e.safetensors", part="encoder")
    assert (info.architecture, info.config["progressive"]) == ("style-encoder", form.get("progressive", False))
    loaded = load(tmp_path / "e.safetensors")
    x = torch.randn(2, form.get("in_channels", 3), 192 if namespace else 256, 256)
    assert torch.equal(loaded.offsets(x), encoder.offsets(x))
    assert torch.equal(loaded.w_avg, encoder.w_avg)


def test_an_encoder_of_label_maps_is_refused(tmp_path: Path) -> None:
    encoder = StyleEncoder(num_ws=9, w_dim=7, width=WIDTH, in_channels=19)
    torch.save({"state_dict": {f"encoder.{k}": v for k, v in encoder.state_dict().items()}, "latent_avg": torch.zeros(7),
                "opts": {"encoder_type": "GradualStyleEncoder", "label_nc": 19}}, tmp_path / "seg.pt")
    with pytest.raises(LayoutError, match=r"seg\.pt cannot be imported: .*19 channels"):
        convert(tmp_path / "seg.pt", tmp_path / "e.safetensors", part="encoder")
    assert not (tmp_path / "e.safetensors").exists()


@pytest.mark.parametrize("opts", [{}, {"encoder_type": "GradualStyleEncoder"}], ids=["kind", "average"])
def test_what_an_encoder_file_lacks_is_named(tmp_path: Path, opts: dict) -> None:
    encoder = StyleEncoder(num_ws=9, w_dim=7, width=WIDTH)
    torch.save({"state_dict": {f"encoder.{k}": v for k, v in encoder.state_dict().items()}, "opts": opts}, tmp_path / "e.pt")
    with pytest.raises(LayoutError, match="latent_avg" if opts else "reads GradualStyleEncoder"):
        convert(tmp_path / "e.pt", tmp_path / "e.safetensors", part="encoder")


def test_the_generator_in_an_encoder_file(tmp_path: Path) -> None:
    tensors = load_file(Path(__file__).parents[1] / "parity_data" / "rosinality_generator.safetensors")
    state = {k.removeprefix("sd."): v for k, v in tensors.items() if k.startswith("sd.")}
    average = tensors["latent_avg"]
    torch.save({"state_dict": {f"decoder.{k}": v for k, v in state.items()} | {"encoder.styles.0.linear.bias": average},
                "latent_avg": average[None].repeat(10, 1), "opts": {}}, tmp_path / "psp.pt")
    convert(tmp_path / "psp.pt", tmp_path / "g.safetensors")
    torch.save({"g_ema": state, "latent_avg": average}, tmp_path / "g.pt")
    convert(tmp_path / "g.pt", tmp_path / "other.safetensors")
    one, other = (load_checkpoint(tmp_path / f"{name}.safetensors").fingerprint for name in ("g", "other"))
    assert one == other


@pytest.mark.parametrize("wrapped", [True, False])
def test_editgan_encoder_and_identity(tmp_path: Path, wrapped: bool) -> None:
    for name, module, x in (
            ("editgan-pyramid-encoder", PyramidEncoder(num_ws=9, w_dim=7, width=4, features=8), torch.randn(2, 3, 128, 128)),
            ("arcface-ir-se", FaceIdentity(width=WIDTH, embedding=10, size=32), torch.randn(2, 3, 64, 64))):
        module = randomized(module)
        state = without_counts(module)
        state = {f"module.{k}": v for k, v in state.items()} if wrapped else state
        torch.save({"epoch": 3, "model_state_dict": state} if wrapped else state, tmp_path / "n.pth")
        assert convert(tmp_path / "n.pth", tmp_path / "n.safetensors").architecture == name
        assert torch.equal(load(tmp_path / "n.safetensors")(x), module(x))


def write_ensemble(folder: Path, classes: int, members: int, width: int = 5888) -> list[PixelClassifier]:
    folder.mkdir()
    branch = [randomized(PixelClassifier([width], classes, hidden_sizes(classes)), seed) for seed in range(members)]
    for i, member in enumerate(branch):
        torch.save({"model_state_dict": {f"module.{k}": v for k, v in member.state_dict().items()}},
                   folder / f"car_model_{i}.pth")
    return branch


@pytest.mark.parametrize(("classes", "members"), [(32, 1), (20, 11), (6, 2)])
def test_label_branches(tmp_path: Path, classes: int, members: int) -> None:
    branch = write_ensemble(tmp_path / "classifiers", classes, members)
    info = convert(tmp_path / "classifiers", tmp_path / "s.safetensors")
    assert info.config["feature_channels"] == [512] * 10 + [256, 256, 128, 128]
    assert info.config["members"] == members
    assert info.labels.names[-1] == {32: "windshield", 20: "windshield", 6: "part 5"}[classes]
    loaded = load(tmp_path / "s.safetensors")
    x = torch.randn(7, 5888)
    for ours, theirs in zip(loaded.members, branch, strict=True):
        assert torch.equal(ours.layers(x), theirs.layers(x))


def test_label_branches_with_labels_of_their_own(tmp_path: Path) -> None:
    write_ensemble(tmp_path / "c", 3, 1)
    labels = LabelSet(("background", "sky", "sea"), ((0, 0, 0), (1, 2, 3), (4, 5, 6)))
    assert convert(tmp_path / "c" / "car_model_0.pth", tmp_path / "s.safetensors", labels=labels).labels == labels
    with pytest.raises(AtelierError, match="3 labels apart, the label set names 2"):
        convert(tmp_path / "c", tmp_path / "t.safetensors", labels=LabelSet(labels.names[:2], labels.colours[:2]))


def test_folders_that_are_no_label_branch(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"model_0\.pth"):
        convert(tmp_path, tmp_path / "s.safetensors")
    write_ensemble(tmp_path / "odd", 3, 1, width=77)
    with pytest.raises(LayoutError, match="77 feature channels"):
        convert(tmp_path / "odd", tmp_path / "s.safetensors")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "odd" / "car_model_1.pth")
    with pytest.raises(CheckpointError, match="File 2 of the folder odd"):
        convert(tmp_path / "odd", tmp_path / "s.safetensors")
    assert not list(tmp_path.glob("*.safetensors"))
