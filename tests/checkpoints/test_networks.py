"""Every architecture: random init -> save -> detect -> same config, same output; and the official key layouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.architecture import Layout
from latent_atelier.checkpoints.errors import LayoutError, MetadataError
from latent_atelier.checkpoints.registry import ARCHITECTURES, inspect, load_checkpoint, save_checkpoint
from latent_atelier.pipelines.editgan.encoder import Encoder
from latent_atelier.pipelines.editgan.segmentation import Segmenter
from latent_atelier.pipelines.editgan.style_encoders import PyramidEncoder, StyleEncoder
from latent_atelier.pipelines.funit.network import Translator
from latent_atelier.pipelines.ir_se import FaceIdentity
from latent_atelier.pipelines.langevin.preconditioning import NetworkPrior, build_prior
from latent_atelier.pipelines.lpips_network import LPIPS
from latent_atelier.pipelines.stylegan2.discriminator import Discriminator
from latent_atelier.pipelines.stylegan2.generator import Generator
from latent_atelier.pipelines.unit.digits import DigitsVae
from latent_atelier.pipelines.unit.network import TwoDomains
from latent_atelier.pipelines.unit.shared import SharedDomains
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

CHANNELS = {4: 12, 8: 10, 16: 8, 32: 6}
GENERATOR = {"z_dim": 9, "c_dim": 0, "w_dim": 7, "resolution": 32, "img_channels": 3, "mapping_layers": 2,
             "channels": CHANNELS, "architecture": "skip", "conv_clamp": None}
DISCRIMINATOR = {"c_dim": 0, "resolution": 32, "img_channels": 3, "channels": CHANNELS, "architecture": "resnet",
                 "cmap_dim": None, "mbstd_group_size": 4, "mbstd_num_channels": 1, "mapping_layers": 8,
                 "conv_clamp": None}
SEGMENTER = {"feature_channels": [12, 12, 10], "num_classes": 5, "hidden": [128, 32], "members": 2}
ENCODER = {"resolution": 32, "num_ws": 8, "w_dim": 7, "channels": CHANNELS, "hidden": 11, "img_channels": 3}
STYLE_ENCODER = {"num_ws": 9, "w_dim": 7, "width": 16, "in_channels": 3, "body": "ir_se50", "pyramid": True,
                 "progressive": False, "rows": None}

DENOISER = {"network": "song", "preconditioning": "edm", "resolution": 16, "channels": 3, "labels": 0, "augment": 0, "width": 8,
            "multipliers": [1, 2], "embedding_multiplier": 4, "blocks": 1, "attention": [], "middle_attention": True, "dims": 2,
            "patch": 1, "embedding": "positional", "noise_multiplier": 1, "encoder": "standard", "decoder": "standard",
            "taps": [1, 1], "sigma_data": 0.5, "classes": [], "position_features": 0, "poses": False, "sample_rate": None,
            "block": 0}

Case = tuple[str, Callable[..., nn.Module], dict[str, object]]
CASES: list[Case] = [
    ("stylegan2-generator", Generator, GENERATOR),
    ("stylegan2-generator", Generator, GENERATOR | {"architecture": "resnet", "conv_clamp": 0.5}),
    ("stylegan2-generator", Generator, GENERATOR | {"c_dim": 4, "img_channels": 1}),
    ("stylegan2-generator", Generator, GENERATOR | {"resolution": 4, "channels": {4: 12}}),
    ("stylegan2-discriminator", Discriminator, DISCRIMINATOR),
    ("stylegan2-discriminator", Discriminator, DISCRIMINATOR | {"architecture": "skip", "conv_clamp": 0.5}),
    ("stylegan2-discriminator", Discriminator, DISCRIMINATOR | {"architecture": "orig", "mbstd_num_channels": 0}),
    ("stylegan2-discriminator", Discriminator,
     DISCRIMINATOR | {"c_dim": 4, "cmap_dim": 6, "mapping_layers": 3, "mbstd_group_size": 2, "mbstd_num_channels": 2}),
    ("stylegan2-discriminator", Discriminator, DISCRIMINATOR | {"mbstd_group_size": None}),
    ("editgan-segmenter", Segmenter, SEGMENTER),
    ("editgan-segmenter", Segmenter, SEGMENTER | {"num_classes": 34, "hidden": [256, 128], "members": 1}),
    ("editgan-encoder", Encoder, ENCODER),
    ("style-encoder", StyleEncoder, STYLE_ENCODER),
    ("style-encoder", StyleEncoder, STYLE_ENCODER | {"progressive": True, "rows": [32, 224]}),
    ("style-encoder", StyleEncoder, STYLE_ENCODER | {"pyramid": False, "in_channels": 6, "body": "resnet34"}),
    ("editgan-pyramid-encoder", PyramidEncoder, {"num_ws": 9, "w_dim": 7, "width": 4, "features": 8}),
    ("arcface-ir-se", FaceIdentity, {"width": 16, "embedding": 6, "size": 32}),
    ("funit", Translator, {"width": 4, "n_downs_content": 2, "n_downs_class": 3, "n_res": 1, "latent_dim": 5, "mlp_width": 7,
                           "mlp_layers": 3}),
    ("funit", Translator, {"width": 4, "n_downs_content": 3, "n_downs_class": 4, "n_res": 2, "latent_dim": 5, "mlp_width": 7,
                           "mlp_layers": 2}),
    ("unit", TwoDomains, {"width": 4, "n_downs": 2, "n_res": 2, "channels": 3, "activation": "relu", "pad": "reflect"}),
    ("unit", TwoDomains, {"width": 4, "n_downs": 1, "n_res": 1, "channels": 1, "activation": "lrelu", "pad": "zero"}),
    ("unit-shared", SharedDomains, {"width": 4, "n_downs": 1, "n_res": 2, "n_encoder_shared": 1, "n_generator_shared": 2,
                                    "channels": 3}),
    ("unit-digits", DigitsVae, {"width": 3, "channels_a": 3, "channels_b": 1}),
    ("edm-denoiser", build_prior, DENOISER),
    ("edm-denoiser", build_prior, DENOISER | {"preconditioning": "ve", "embedding": "fourier", "noise_multiplier": 2,
                                              "encoder": "residual", "taps": [1, 3, 3, 1], "attention": [16, 8], "labels": 5}),
    ("edm-denoiser", build_prior, DENOISER | {"encoder": "skip", "decoder": "skip", "augment": 9, "sigma_data": 0.31,
                                              "preconditioning": "vp", "multipliers": [1, 2, 3], "resolution": 24}),
    ("edm-denoiser", build_prior, DENOISER | {"network": "adm", "width": 64, "attention": [8], "embedding_multiplier": 2,
                                              "preconditioning": "iddpm", "labels": 3}),
    ("edm-denoiser", build_prior, DENOISER | {"dims": 1, "channels": 2, "patch": 4, "resolution": 64, "middle_attention": False,
                                              "sample_rate": 8000, "multipliers": [1, 2, 2], "taps": [1, 3, 3, 1]}),
    ("edm-denoiser", build_prior, DENOISER | {"patch": 2, "resolution": 32, "classes": ["day", "night"], "labels": 5,
                                              "position_features": 3, "middle_attention": False}),
    ("edm-denoiser", build_prior, DENOISER | {"classes": ["car", "house"], "labels": 7, "poses": True}),
    ("edm-denoiser", build_prior, DENOISER | {"preconditioning": "lapped", "dims": 1, "channels": 2, "block": 6,
                                              "resolution": 48, "labels": 2, "classes": ["major", "minor"],
                                              "embedding_multiplier": 1}),
    *(("lpips", LPIPS, {"net": net}) for net in ("alex", "squeeze", "vgg")),
]
ids = [f"{i}-{name}" for i, (name, _, _) in enumerate(CASES)]


def plain(config: dict[str, object]) -> dict[str, object]:
    return json.loads(json.dumps(config))


def build(kind: Callable[..., nn.Module], config: dict[str, object], seed: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    module = kind(**config)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and "filter" not in name:
                tensor.add_(torch.rand_like(tensor) * (0.3 if tensor.ndim < 2 else 0.01))
    return module.eval().requires_grad_(False)


def output(module: nn.Module, config: dict[str, object]) -> Tensor:
    rng = torch.Generator().manual_seed(8)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=rng)

    size, c = config.get("resolution", 8), config.get("c_dim", 0)
    with torch.no_grad():
        if isinstance(module, Generator):
            return module(randn(2, 9), randn(2, c) if c else None, psi=0.7)
        if isinstance(module, Segmenter):
            return module([randn(2, n, 4 * 2 ** (i // 2), 4 * 2 ** (i // 2)) for i, n in enumerate((12, 12, 10))])
        if isinstance(module, NetworkPrior):
            x = randn(2, module.channels, *[module.multiple * 4] * module.dims)
            return module(x, torch.tensor([0.3, 2.0]), randn(2, module.label_dim) if module.label_dim else None)
        if isinstance(module, LPIPS):
            return module(randn(2, 3, 40, 40), randn(2, 3, 40, 40))
        if isinstance(module, StyleEncoder):
            return module.offsets(randn(2, module.in_channels, 192 if module.rows else 256, 256))
        if isinstance(module, PyramidEncoder):
            return module(randn(2, 3, 64, 64))
        if isinstance(module, Translator):
            return module(randn(2, 3, 32, 40), module.class_codes(randn(2, 3, 32, 32)))
        if isinstance(module, SharedDomains):
            return module.translate(randn(2, 3, 32, 40), "b to a")
        if isinstance(module, DigitsVae):
            return module(randn(2, 3, 32, 32), randn(2, 1, 32, 32)).ab
        if isinstance(module, TwoDomains):
            return module.translate(randn(2, module.a.enc.model[0].conv.in_channels, 32, 40), "a to b")
        if isinstance(module, FaceIdentity):
            return module(randn(2, 3, 80, 80))
        images = randn(4, 3, size, size)
        return module(images, randn(4, c)) if c else module(images)


@pytest.mark.parametrize(("name", "kind", "config"), CASES, ids=ids)
def test_round_trip(tmp_path: Path, name: str, kind: Callable[..., nn.Module], config: dict[str, object]) -> None:
    path, module = tmp_path / "net.safetensors", build(kind, config)
    written = save_checkpoint(path, module, architecture=name, config=config)
    loaded = load_checkpoint(path)
    assert (loaded.architecture, loaded.fingerprint) == (name, written)
    stated = {key: value for key, value in plain(config).items() if value is not None}
    assert {key: loaded.config[key] for key in stated} == stated
    assert inspect(path).config == loaded.config
    assert torch.equal(output(loaded.module, config), output(module, config))
    again = tmp_path / "again.safetensors"
    assert save_checkpoint(again, loaded.module, architecture=name, config=loaded.config) == written
    assert load_checkpoint(again).config == loaded.config


@pytest.mark.parametrize(("name", "kind", "config"), CASES, ids=ids)
def test_detection_without_our_metadata(tmp_path: Path, name: str, kind: Callable[..., nn.Module], config) -> None:
    path = tmp_path / "net.safetensors"
    save_file({key: tensor.clone() for key, tensor in build(kind, config).state_dict().items()}, path)
    if name == "editgan-segmenter":
        with pytest.raises(MetadataError, match="'feature_channels' is a list of positive integers, got nothing"):
            load_checkpoint(path)
        return
    found = inspect(path)
    assert found.architecture == name
    invisible = {"conv_clamp", "mbstd_group_size", "progressive", "rows", "activation", "pad", "sigma_data", "classes",
                 "position_features", "poses", "sample_rate"}
    if config.get("preconditioning") in ("vp", "ve"):
        invisible |= {"preconditioning"}
    if config.get("patch", 1) != 1:  # a network on patches looks like one of a smaller picture with more channels
        invisible |= {"patch", "resolution", "channels"}
    stated = {key: value for key, value in plain(config).items() if key not in invisible and value is not None}
    assert {key: found.config[key] for key in stated} == stated


@pytest.mark.parametrize(("name", "kind", "config"), CASES, ids=ids)
def test_only_one_architecture_claims_it(name: str, kind: Callable[..., nn.Module], config) -> None:
    layout = Layout({key: tuple(tensor.shape) for key, tensor in build(kind, config).state_dict().items()})
    assert [architecture.name for architecture in ARCHITECTURES if architecture.matches(layout)] == [name]


def without(*names: str) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        for name in names:
            del tensors[name]
    return change


def replaced(name: str, *shape: int) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[name] = torch.zeros(shape)
    return change


@pytest.mark.parametrize(("case", "change", "says"), [
    (0, without("synthesis.b8.conv1.weight"), "resolutions"),
    (0, without("synthesis.b32.torgb.weight"), "toRGB"),
    (0, without("synthesis.b8.torgb.weight"), "toRGB"),
    (0, without("synthesis.b8.conv0.noise_const"), "synthesis.b8.conv0.noise_const"),
    (0, without("mapping.fc1.bias"), "mapping.fc1.bias"),
    (0, replaced("mapping.fc7.weight", 7, 7), "mapping.fc2.weight"),
    (0, replaced("synthesis.b64.conv1.weight", 7, 7, 3, 3), "toRGB"),
    (0, replaced("synthesis.b8.conv0.noise_const", 4, 4), "noise_const"),
    (0, replaced("mapping.w_avg", 8), "has shape"),
    (2, replaced("mapping.embed.weight", 99, 4), "class label"),
    (4, without("b16.conv0.weight"), "resolutions"),
    (4, without("b32.fromrgb.weight"), "fromRGB"),
    (4, replaced("b4.conv.weight", 12, 11, 3, 3), "deviation"),
    (4, replaced("b4.conv.weight", 12, 17, 3, 3), "deviation"),
    (11, replaced("out.weight", 55, 11), "multiple"),
    (11, without("b32.skip.weight"), "b32.skip.weight"),
])
def test_wrong_layouts_are_refused_by_name(tmp_path: Path, case: int, change, says: str) -> None:
    _, kind, config = CASES[case]
    tensors = {key: tensor.clone() for key, tensor in build(kind, config).state_dict().items()}
    change(tensors)
    save_file(tensors, tmp_path / "net.safetensors")
    with pytest.raises(LayoutError, match=says):
        load_checkpoint(tmp_path / "net.safetensors")


def test_segmenter_channels_must_add_up(tmp_path: Path) -> None:
    module = build(Segmenter, SEGMENTER)
    with pytest.raises(LayoutError, match="lists 24 feature channels, its first layer takes 34"):
        save_checkpoint(tmp_path / "x.safetensors", module, architecture="editgan-segmenter",
                        config={"feature_channels": [12, 12]})


def parity_folder() -> Path | None:
    for parent in Path(__file__).resolve().parents:
        folder = parent / "shared" / "parity" / "stylegan2"
        if folder.is_dir():
            return folder
    return None


PARITY = parity_folder()
OFFICIAL = ["ada_generator_skip", "ada_generator_resnet", "ada_generator_cond", "ada_clamp",
            "ada_discriminator_resnet", "ada_discriminator_skip", "ada_discriminator_cond"]


@pytest.mark.skipif(PARITY is None, reason="the parity fixtures are not next to this checkout")
@pytest.mark.parametrize("name", OFFICIAL)
def test_official_layouts_are_detected(tmp_path: Path, name: str) -> None:
    assert PARITY is not None
    facts = json.loads((PARITY / f"{name}.json").read_text())
    stated = facts.get("constructor") or facts["config"]
    tensors = load_file(PARITY / f"{name}.safetensors")
    weights = {key.removeprefix("sd."): tensor for key, tensor in tensors.items() if key.startswith("sd.")}
    path = tmp_path / "official.safetensors"
    clamp = stated.get("conv_clamp")
    save_file(weights, path, metadata={"atelier.config": json.dumps({"conv_clamp": clamp})})
    loaded = load_checkpoint(path)
    config = loaded.config
    synthesis = stated.get("synthesis_kwargs", stated)
    size, base, most = stated["img_resolution"], synthesis["channel_base"], synthesis["channel_max"]
    assert config["resolution"] == size
    assert config["channels"] == {str(r): min(base // r, most) for r in (4, 8, 16, 32, 64) if r <= size}
    assert config["c_dim"] == stated["c_dim"]
    assert config["conv_clamp"] == clamp
    assert config["architecture"] == synthesis.get("architecture", "skip")
    if "generator" in name or name == "ada_clamp":
        layers = stated.get("mapping_layers") or stated["mapping_kwargs"]["num_layers"]
        assert (config["z_dim"], config["w_dim"], config["mapping_layers"]) == (
            stated["z_dim"], stated["w_dim"], layers)
        z, c = tensors.get("z", tensors.get("in.z")), tensors.get("in.c")
        w = tensors["w"] if "w" in tensors else tensors["out.ws"][:, 0] if "out.ws" in tensors else None
        assert (z is None) == (w is None)
        if w is not None:
            assert torch.allclose(loaded.module.mapping(z, c), w, atol=1e-5)
    else:
        assert config["mbstd_group_size"] == 4  # not visible: the official default
