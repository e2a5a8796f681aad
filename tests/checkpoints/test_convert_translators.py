"""FUNIT's and UNIT's official files, imported, translate as the originals did."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.convert import convert
from latent_atelier.checkpoints.errors import LayoutError
from latent_atelier.checkpoints.registry import load_checkpoint
from safetensors.torch import load_file

FILES = Path(__file__).parents[1] / "parity_data" / "translation"


def thinned(tensor: torch.Tensor) -> torch.Tensor:
    step = tensor.numel() // 1024 | 1
    return tensor.flatten()[::step] if tensor.numel() > 2048 else tensor


def test_funit_takes_the_averaged_generator(tmp_path: Path) -> None:
    info = convert(FILES / "checkpoints" / "funit" / "gen_00000010.pt", tmp_path / "f.safetensors", license="CC BY-NC-SA 4.0")
    assert (info.architecture, info.config["width"], info.config["latent_dim"]) == ("funit", 4, 8)
    network, t = load_checkpoint(tmp_path / "f.safetensors").module, load_file(FILES / "funit.safetensors")
    code = network.class_codes(t["class_images"][:3]).mean(dim=0, keepdim=True)
    assert float((thinned(network(t["content"], code)) - t["output_k3"]).abs().max()) < 2e-4


@pytest.mark.parametrize("name", ["gen_00000010", "gen_torch03_style"])
def test_unit_with_and_without_stale_statistics(tmp_path: Path, name: str) -> None:
    info = convert(FILES / "checkpoints" / "unit" / f"{name}.pt", tmp_path / "u.safetensors")
    assert (info.architecture, info.config["n_downs"], info.config["n_res"]) == ("unit", 2, 4)
    network, t = load_checkpoint(tmp_path / "u.safetensors").module, load_file(FILES / "unit.safetensors")
    for source, other in (("a", "b"), ("b", "a")):
        found = network.translate(t[f"x_{source}"], f"{source} to {other}")
        assert float((thinned(found) - t[f"x_{source}{other}"]).abs().max()) < 2e-4


def test_discriminators_are_pointed_to_their_generators(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match=r"UNIT's discriminators; import the gen_\.\.\. file beside it"):
        convert(FILES / "checkpoints" / "unit" / "dis_00000010.pt", tmp_path / "u.safetensors")


def test_the_shared_layer_release_without_its_stale_statistics(tmp_path: Path) -> None:
    info = convert(FILES / "checkpoints" / "unit_v2" / "shared_gen_00000010.pkl", tmp_path / "s.safetensors")
    assert info.architecture == "unit-shared"
    assert info.config == {"width": 6, "n_downs": 2, "n_res": 3, "n_encoder_shared": 1, "n_generator_shared": 1, "channels": 3}
    network, t = load_checkpoint(tmp_path / "s.safetensors").module, load_file(FILES / "unit_v2.safetensors")
    for way, source in (("a2b", "a"), ("b2a", "b")):
        found = network.translate(t[f"x_{source}"], way.replace("2", " to "))
        assert float((thinned(found) - t[way]).abs().max()) < 2e-4


def test_digits_with_the_statistics_they_need(tmp_path: Path) -> None:
    info = convert(FILES / "checkpoints" / "unit_digits" / "digits_gen_00000010.pkl", tmp_path / "d.safetensors")
    assert (info.architecture, info.config["channels_b"]) == ("unit-digits", 1)
    network, t = load_checkpoint(tmp_path / "d.safetensors").module, load_file(FILES / "unit_digits.safetensors")
    assert float((network(t["x_a"], t["x_b"], t["noise"]).ab - t["eval_ab"]).abs().max()) < 2e-4
