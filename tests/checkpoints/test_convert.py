"""Official files become safetensors that draw the same pictures; everything else is refused and leaves nothing."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.convert import convert
from latent_atelier.checkpoints.errors import CheckpointError, LayoutError, UnknownArchitectureError
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.headless.cli import main
from latent_atelier.pipelines.lpips_network import LPIPS, NETS
from latent_atelier.pipelines.stylegan2.discriminator import Discriminator
from latent_atelier.pipelines.stylegan2.generator import Generator
from network_pickle import write_network_pickle
from safetensors.torch import load_file

PARITY = Path(__file__).parents[1] / "parity_data"
CHANNELS = {4: 12, 8: 10, 16: 8}


def networks(c_dim: int = 0, architecture: str = "skip", clamp: float | None = None) -> tuple[Generator, Discriminator]:
    torch.manual_seed(1)
    generator = Generator(z_dim=9, c_dim=c_dim, w_dim=8, resolution=16, channels=CHANNELS, mapping_layers=3,
                          architecture=architecture, conv_clamp=clamp)
    discriminator = Discriminator(c_dim=c_dim, resolution=16, channels=CHANNELS, conv_clamp=clamp, mbstd_group_size=2)
    for network in (generator, discriminator):
        network.eval().requires_grad_(False)
    generator.mapping.w_avg.normal_()
    return generator, discriminator


@pytest.mark.parametrize(("c_dim", "architecture", "clamp"), [(0, "skip", None), (3, "resnet", 0.5)])
def test_network_pickles(tmp_path: Path, c_dim: int, architecture: str, clamp: float | None) -> None:
    generator, discriminator = networks(c_dim, architecture, clamp)
    source = write_network_pickle(tmp_path / "network.pkl", G=generator, D=discriminator, G_ema=generator)
    info = convert(source, tmp_path / "g.safetensors", license="CC BY-NC 4.0")
    assert (info.architecture, info.license) == ("stylegan2-generator", "CC BY-NC 4.0")
    assert info.source_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert info.config["conv_clamp"] == clamp
    loaded = load_checkpoint(tmp_path / "g.safetensors").module
    z, c = torch.randn(2, 9), torch.randn(2, c_dim) if c_dim else None
    assert torch.equal(loaded(z, c, psi=0.7), generator(z, c, psi=0.7))
    info = convert(source, tmp_path / "d.safetensors", part="discriminator")
    assert info.config["mbstd_group_size"] == 2
    images = torch.randn(4, 3, 16, 16)
    c = torch.randn(4, c_dim) if c_dim else None
    assert torch.equal(load_checkpoint(tmp_path / "d.safetensors").module(images, c) if c_dim else
                       load_checkpoint(tmp_path / "d.safetensors").module(images),
                       discriminator(images, c) if c_dim else discriminator(images))


def rosinality() -> tuple[dict, dict[str, torch.Tensor]]:
    facts = json.loads((PARITY / "rosinality_generator.json").read_text())
    return facts, load_file(PARITY / "rosinality_generator.safetensors")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_rosinality_files(tmp_path: Path, zipped: bool, average: bool) -> None:
    _, tensors = rosinality()
    state = {k.removeprefix("sd."): v for k, v in tensors.items() if k.startswith("sd.")}
    whole = {"g_ema": state, "args": {"size": 64}} | ({"latent_avg": tensors["latent_avg"]} if average else {})
    torch.save(whole, tmp_path / "stylegan2.pt", _use_new_zipfile_serialization=zipped)
    convert(tmp_path / "stylegan2.pt", tmp_path / "g.safetensors")
    generator = load_checkpoint(tmp_path / "g.safetensors").module
    if average:
        assert torch.equal(generator.mapping.w_avg, tensors["latent_avg"])
    else:
        z = torch.randn(2000, generator.z_dim, generator=torch.Generator().manual_seed(5))
        mean = generator.map(z)[:, 0].mean(dim=0)
        assert (generator.mapping.w_avg - mean).abs().max() < 0.2 * generator.map(z)[:, 0].std(dim=0).max()


@pytest.mark.parametrize("net", ["squeeze", "alex"])
def test_torchvision_backbones_with_heads(tmp_path: Path, net: str) -> None:
    torch.manual_seed(2)
    network = LPIPS(net).eval().requires_grad_(False)
    whole = network.state_dict()
    heads = {k: v for k, v in whole.items() if k.startswith("lin")}
    backbone = {f"features.{k.split('.', 2)[2]}": v for k, v in whole.items() if k.startswith("net.")}
    torch.save(backbone | {"classifier.1.weight": torch.ones(3, 3)}, tmp_path / "backbone.pth")
    torch.save(heads, tmp_path / "heads.pth")
    info = convert(tmp_path / "backbone.pth", tmp_path / "lpips.safetensors", heads=tmp_path / "heads.pth")
    assert info.config == {"net": net}
    a, b = torch.rand(2, 3, 48, 48), torch.rand(2, 3, 48, 48)
    assert torch.equal(load_checkpoint(tmp_path / "lpips.safetensors").module(a, b), network(a, b))
    with pytest.raises(CheckpointError, match="half of LPIPS"):
        convert(tmp_path / "backbone.pth", tmp_path / "x.safetensors")
    torch.save({"lin0.model.1.weight": torch.ones(1, 5, 1, 1)}, tmp_path / "heads.pth")
    with pytest.raises(LayoutError, match="do not belong together"):
        convert(tmp_path / "backbone.pth", tmp_path / "x.safetensors", heads=tmp_path / "heads.pth")
    assert not (tmp_path / "x.safetensors").exists()


def test_the_package_layout_with_its_buffers(tmp_path: Path) -> None:
    network = LPIPS("alex")
    extra = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "lins.0.model.1.weight": torch.ones(1, 64, 1, 1)}
    torch.save(network.state_dict() | extra, tmp_path / "lpips.pth")
    assert convert(tmp_path / "lpips.pth", tmp_path / "lpips.safetensors").architecture == "lpips"
    assert len(NETS) == 3


def test_what_is_no_network_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    generator, _ = networks()
    state = generator.state_dict()
    short = {k: v for k, v in state.items() if k != "synthesis.b8.conv0.bias"}
    cases = {"other.pt": {"optimizer": {"lr": 1}}, "list.pt": [1, 2], "short.pt": short,
             "wide.pt": state | {"synthesis.b8.conv0.bias": torch.zeros(99)}}
    for name, value in cases.items():
        torch.save(value, tmp_path / name)
        with pytest.raises(CheckpointError, match=name.replace(".", r"\.")) as caught:
            convert(tmp_path / name, tmp_path / "x.safetensors")
        if name in ("other.pt", "list.pt"):
            assert isinstance(caught.value, UnknownArchitectureError)
        assert not (tmp_path / "x.safetensors").exists()
    torch.save(state | {"mapping.w_avg": torch.full((8,), float("nan"))}, tmp_path / "nan.pt")
    with pytest.raises(CheckpointError):
        convert(tmp_path / "nan.pt", tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(networks()[0].state_dict(), tmp_path / "g.pt")
    assert main(["weights", "convert", str(tmp_path / "g.pt"), str(tmp_path / "g.safetensors")]) == 0
    assert "stylegan2-generator" in capsys.readouterr().out
    assert main(["weights", "convert", str(tmp_path / "none.pt"), str(tmp_path / "x.safetensors")]) == 2
    assert "no weights file none.pt" in capsys.readouterr().err
