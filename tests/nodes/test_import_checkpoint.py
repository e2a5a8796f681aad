"""Import Checkpoint puts an official file where the loaders look, once, and leaves nothing behind when it cannot."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.headless.cli import main
from latent_atelier.nodes.editgan import EncodeToWPlus, SampleLatents
from latent_atelier.nodes.sockets import network_to_image
from latent_atelier.pipelines.editgan.segmentation import PixelClassifier
from latent_atelier.pipelines.editgan.style_encoders import StyleEncoder
from latent_atelier.pipelines.errors import AtelierError
from latent_atelier.pipelines.ir_se import FaceIdentity
from latent_atelier.pipelines.stylegan2.generator import Generator
from latent_atelier.runtime.folders import model_path
from latent_atelier.runtime.model_cache import load_model


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An input folder with a state dict and a file that is no network, and a graph that imports."""
    (tmp_path / "input").mkdir()
    (tmp_path / "models").mkdir()
    torch.manual_seed(0)
    generator = Generator(z_dim=8, c_dim=0, w_dim=8, resolution=8, channels={4: 8, 8: 8}, mapping_layers=2)
    torch.save(generator.state_dict(), tmp_path / "input" / "faces.pt")
    torch.save({"optimizer": 1}, tmp_path / "input" / "other.pt")
    return tmp_path


def run(place: Path, file: str, **inputs: str) -> int:
    graph = {"1": {"class_type": "AtelierImportCheckpoint",
                   "inputs": {"file": file, "name": "", "part": "generator", "licence": "MIT", **inputs}}}
    (place / "graph.json").write_text(json.dumps(graph))
    return main(["run", str(place / "graph.json"), "--quiet", "--input", str(place / "input"), "--output",
                 str(place / "output"), "--models", str(place / "models")])


def test_an_official_file_is_imported_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(place, "faces.pt", name="my faces") == 0
    target = place / "models" / "atelier" / "stylegan2" / "my faces.safetensors"
    assert load_checkpoint(target).license == "MIT"
    assert run(place, "faces.pt", name="my faces") == 1
    assert "choose another name" in capsys.readouterr().err
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize(("file", "words"), [("other.pt", "no network that this version can import"),
                                             ("none.pt", "copy the official file there")])
def test_what_cannot_be_imported_leaves_nothing(place: Path, capsys: pytest.CaptureFixture[str], file: str, words: str) -> None:
    assert run(place, file) == 1
    assert words in capsys.readouterr().err
    assert not list((place / "models").rglob("*.*"))


def test_encoders_label_branches_and_recognition_networks_go_where_their_loaders_look(place: Path) -> None:
    torch.manual_seed(0)
    torch.save(FaceIdentity(width=16, embedding=6, size=32).state_dict(), place / "input" / "faces_id.pth")
    encoder = StyleEncoder(num_ws=6, w_dim=8, width=16)
    torch.save({"state_dict": {f"encoder.{k}": v for k, v in encoder.state_dict().items()}, "latent_avg": torch.zeros(8),
                "opts": {"encoder_type": "Encoder4Editing"}}, place / "input" / "e4e.pt")
    (place / "input" / "classifiers").mkdir()
    for i in range(2):
        torch.save({"model_state_dict": PixelClassifier([5888], 3, (128, 32)).state_dict()},
                   place / "input" / "classifiers" / f"model_{i}.pth")
    assert run(place, "faces_id.pth") == 0
    assert run(place, "e4e.pt", part="encoder") == 0
    assert run(place, "classifiers", name="sea", label_names="background, sky, sea") == 0
    models = place / "models" / "atelier"
    assert {path.relative_to(models).as_posix() for path in models.rglob("*.safetensors")} == {
        "identity/faces_id.safetensors", "encoders/e4e.safetensors", "label_branches/sea.safetensors"}
    assert load_checkpoint(models / "label_branches" / "sea.safetensors").labels.names == ("background", "sky", "sea")


def test_an_identity_network_judges_reconstructions(place: Path) -> None:
    torch.manual_seed(0)
    torch.save(FaceIdentity(width=16, embedding=6, size=32).state_dict(), place / "input" / "id.pth")
    assert run(place, "id.pth") == 0
    identity = load_model(place / "models" / "atelier" / "identity" / "id.safetensors")
    generator, encoder, perceptual = (load_model(model_path(family, "toy_cars_64.safetensors"))
                                      for family in ("stylegan2", "encoders", "perceptual"))
    codes = SampleLatents.execute(generator, 1, 2, 0.7).args[0].codes
    image = network_to_image(generator.acquire().synthesis(codes)[0])
    report = EncodeToWPlus.execute(image, generator, encoder, perceptual, 2, 0.1, 0.0, identity=identity).args[2]
    assert [re.fullmatch(r"picture \d: PSNR .* dB, perceptual distance .*, identity (-?\d\.\d{3})", line) is not None
            for line in report.splitlines()] == [True, True]
    with pytest.raises(AtelierError, match="is a stylegan2-generator; connect what its loader"):
        EncodeToWPlus.execute(image, generator, encoder, perceptual, 2, 0.1, 0.0, identity=generator)
