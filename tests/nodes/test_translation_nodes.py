"""Translation in the graph: any size, one by one, codes of the right translator only."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.registry import save_checkpoint
from latent_atelier.nodes.translation import (
    CycleDomain,
    EncodeClass,
    LoadClassCode,
    LoadFUNIT,
    MixClassCodes,
    SaveClassCode,
    TranslateDomain,
    TranslateToClass,
)
from latent_atelier.pipelines.errors import FingerprintMismatchError, InvalidInputError
from latent_atelier.pipelines.frames import fitted
from latent_atelier.pipelines.funit.class_code import load_class_code
from latent_atelier.pipelines.funit.network import Translator
from latent_atelier.pipelines.unit.network import TwoDomains
from latent_atelier.runtime.context import ExecutionContext, Folders
from latent_atelier.runtime.folders import MissingModelError
from latent_atelier.runtime.model_cache import load_model


def network_file(folder: Path, family: str, module: torch.nn.Module, name: str = "tiny") -> Path:
    path = folder / "models" / "atelier" / family / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, module.eval(), architecture=family)
    return path


@pytest.fixture
def place(tmp_path: Path):
    folders = Folders(input=[tmp_path], output=tmp_path / "output", temp=tmp_path, models=[tmp_path / "models"])
    with ExecutionContext(folders=folders).activate():
        yield tmp_path


@pytest.fixture
def funit(place: Path):
    torch.manual_seed(0)
    network_file(place, "funit", Translator(width=4, n_downs_class=2, latent_dim=6, mlp_width=8))
    return LoadFUNIT.execute("tiny.safetensors").args[0]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 37), (3, 200), (1, 1)])
def test_pictures_of_any_size(funit, height: int, width: int) -> None:
    image = torch.rand(2, height, width, 3)
    code = EncodeClass.execute(funit, torch.rand(3, 24, 40, 3), "class").args[0]
    assert (code.count, list(code.code.shape)) == (3, [1, 6])
    result = TranslateToClass.execute(funit, image, code).args[0]
    assert result.shape == image.shape
    alone = TranslateToClass.execute(funit, image[1:], code).args[0]
    assert torch.equal(result[1:], alone)


def test_the_translation_is_the_networks(funit) -> None:
    image = torch.rand(1, 64, 48, 3)
    code = EncodeClass.execute(funit, image, "class").args[0]
    x = image.permute(0, 3, 1, 2) * 2 - 1
    network = funit.acquire()
    expected = (network(x, network.class_codes(x)) + 1) / 2
    found = TranslateToClass.execute(funit, image, code).args[0].permute(0, 3, 1, 2)
    assert torch.allclose(found, expected.clamp(0, 1), atol=1e-6)


def test_class_codes_are_mixed_saved_and_kept_apart(funit, place: Path) -> None:
    one, two = (EncodeClass.execute(funit, torch.rand(k, 32, 32, 3), name).args[0] for k, name in ((1, "one"), (4, "two")))
    mixed = MixClassCodes.execute(one, 3.0, class_code_2=two, weight_2=1.0, name="mixed").args[0]
    assert torch.allclose(mixed.code, 0.75 * one.code + 0.25 * two.code)
    assert (mixed.count, mixed.name) == (5, "mixed")
    with pytest.raises(InvalidInputError, match="cancel out"):
        MixClassCodes.execute(one, 1.0, class_code_2=two, weight_2=-1.0)
    SaveClassCode.execute(mixed, "codes/mixed")
    saved = next((place / "output" / "codes").glob("*.safetensors"))
    again = load_class_code(saved)
    assert torch.equal(again.code, mixed.code)
    assert (again.count, again.fingerprint, again.translator, again.name) == (5, funit.fingerprint, funit.name, "mixed")
    with pytest.raises(MissingModelError):
        LoadClassCode.execute("mixed.safetensors")
    torch.manual_seed(9)
    other = load_model(network_file(place, "funit", Translator(width=4, n_downs_class=2, latent_dim=6, mlp_width=8), "other"))
    with pytest.raises(FingerprintMismatchError, match=r"belongs to the translator 'tiny\.safetensors', not to 'other"):
        TranslateToClass.execute(other, torch.rand(1, 32, 32, 3), mixed)
    foreign = EncodeClass.execute(other, torch.rand(1, 32, 32, 3), "foreign").args[0]
    with pytest.raises(FingerprintMismatchError, match="mix codes of one translator"):
        MixClassCodes.execute(one, 1.0, class_code_2=foreign)
    (place / "broken.safetensors").write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="not a readable class code"):
        load_class_code(place / "broken.safetensors")


def test_domains_there_and_back(place: Path) -> None:
    torch.manual_seed(0)
    unit = load_model(network_file(place, "unit", TwoDomains(width=4, n_res=1)))
    image = torch.rand(3, 30, 50, 3)
    mean = TranslateDomain.execute(unit, image, "a to b", "mean", 0).args[0]
    assert mean.shape == image.shape
    drawn, again, other = (TranslateDomain.execute(unit, image, "a to b", "sampled", seed).args[0] for seed in (5, 5, 6))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    assert torch.equal(drawn[1:2], TranslateDomain.execute(unit, image[1:2], "a to b", "sampled", 6).args[0])
    same, there, back = CycleDomain.execute(unit, image, "a to b").args
    assert torch.equal(there, mean)
    assert same.shape == back.shape == image.shape


def test_a_border_is_mirrored_until_it_fits() -> None:
    x = torch.arange(6.0).reshape(1, 1, 2, 3)
    y = fitted(x, 8, 16)
    assert y.shape == (1, 1, 16, 16)
    assert torch.equal(y[:, :, :2, :3], x)
    assert torch.equal(y[0, 0, 0, :5], torch.tensor([0.0, 1.0, 2.0, 1.0, 0.0]))
    assert torch.equal(fitted(y, 8, 16), y)
