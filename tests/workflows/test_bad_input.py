"""Bad input gets one clear sentence and the right exit code, and nothing is written."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
import torch
from latent_atelier.demo.models import FILES, load_demo
from latent_atelier.headless.cli import main
from latent_atelier.nodes.editing import OptimiseEditVector
from latent_atelier.pipelines.editgan.latents import WPlus
from latent_atelier.pipelines.editgan.vectors import EditVector, save_vector
from latent_atelier.pipelines.errors import LabelSetMismatchError
from latent_atelier.pipelines.labels import LabelMap, LabelSet
from latent_atelier.runtime.model_cache import load_model
from PIL import Image
from safetensors.torch import load_file, save_file

WORKFLOWS = Path(__file__).parents[2] / "workflows"
GENERATOR = FILES["stylegan2-generator"]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Runs a shipped workflow over temporary folders: (exit code, standard error, files written)."""
    (tmp_path / "input").mkdir()
    (tmp_path / "models").mkdir()

    def execute(name: str, *sets: str) -> tuple[int, str, list[Path]]:
        options = [item for change in sets for item in ("--set", change)]
        code = main(["run", str(WORKFLOWS / name), "--quiet", "--input", str(tmp_path / "input"),
                     "--models", str(tmp_path / "models"), "--output", str(tmp_path / "output"), *options])
        written = [p for p in (tmp_path / "output").rglob("*") if p.is_file()] if (tmp_path / "output").exists() else []
        return code, capsys.readouterr().err, written

    return execute


def model_folder(tmp_path: Path, family: str) -> Path:
    folder = tmp_path / "models" / "atelier" / family
    folder.mkdir(parents=True)
    return folder


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be huge and holds nothing."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def check(result: tuple[int, str, list[Path]], codes: set[int], *words: str) -> None:
    code, error, written = result
    assert code in codes, error
    assert written == []
    assert "Traceback" not in error
    for word in words:
        assert word in error, error
    assert len(error.strip().splitlines()) <= 3, error


def test_not_an_image(run, tmp_path: Path) -> None:
    (tmp_path / "input" / "text.png").write_text("no picture")
    check(run("edit_car.json", "1.image=text.png"), {1, 2}, "text.png")


def test_tiny_image(run, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(tmp_path / "input" / "dot.png")
    check(run("edit_car.json", "1.image=dot.png"), {1}, "1x1", "16")


def test_huge_png_header(run, tmp_path: Path) -> None:
    (tmp_path / "input" / "huge.png").write_bytes(png_header(20000, 20000))
    check(run("edit_car.json", "1.image=huge.png"), {1, 2}, "huge.png", "100 megapixels")


def test_missing_picture(run) -> None:
    check(run("edit_car.json", "1.image=absent.png"), {2}, "absent.png")


def test_missing_model(run) -> None:
    check(run("edit_car.json", "2.generator=absent.safetensors"), {2}, "absent.safetensors", "models/atelier/stylegan2")


def test_vector_of_another_generator(run, tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "edit_vectors")
    save_vector(folder / "foreign.safetensors", EditVector(torch.zeros(10, 128), name="foreign", fingerprint="ab" * 32))
    check(run("apply_vector.json", "7.edit_vector=foreign.safetensors", "8.steps=0"), {1}, "foreign", "abababababababab")


def test_label_map_of_other_labels() -> None:
    generator, segmenter, perceptual = (load_model(FILES[name]) for name in (
        "stylegan2-generator", "editgan-segmenter", "stylegan2-discriminator"))
    other = LabelMap(torch.zeros(1, 64, 64, dtype=torch.uint8), LabelSet(("background", "ear"), ((0, 0, 0), (9, 9, 9))))
    codes = WPlus(torch.zeros(1, 10, 128), generator.fingerprint)
    defaults = {"name": "x", "edited_labels": "", "steps": 1, "learning_rate": 0.02, "dilation": 3, "outside_weight": 1.0,
                "inside_weight": 1.0, "perceptual_weight": 1.0, "mse_weight": 1.0, "first_row": 0, "last_row": 17}
    with pytest.raises(LabelSetMismatchError, match="ear"):
        OptimiseEditVector.execute(generator, segmenter, perceptual, codes, other, **defaults)


def test_truncated_weights(run, tmp_path: Path) -> None:
    data = GENERATOR.read_bytes()
    (model_folder(tmp_path, "stylegan2") / "cut.safetensors").write_bytes(data[: len(data) // 2])
    check(run("edit_car.json", "2.generator=cut.safetensors"), {1, 2}, "cut.safetensors")


def test_weights_with_nan(run, tmp_path: Path) -> None:
    tensors = load_file(GENERATOR)
    tensors["synthesis.b8.conv0.weight"][0, 0, 0, 0] = float("nan")
    path = model_folder(tmp_path, "stylegan2") / "nan.safetensors"
    save_file(tensors, path, {"atelier.architecture": "stylegan2-generator"})
    check(run("edit_car.json", "2.generator=nan.safetensors"), {1, 2}, "synthesis.b8.conv0.weight")


def test_networks_that_do_not_belong_together(run, tmp_path: Path) -> None:
    tensors = load_file(GENERATOR)
    tensors["synthesis.b4.const"] += 1
    path = model_folder(tmp_path, "stylegan2") / "other.safetensors"
    save_file(tensors, path, {"atelier.architecture": "stylegan2-generator"})
    check(run("edit_car.json", "2.generator=other.safetensors"), {1}, "was trained with generator")


def test_every_problem_is_listed_at_once(run) -> None:
    code, error, written = run("edit_car.json", "1.image=absent.png", "2.generator=absent.safetensors", "6.steps=0")
    assert code == 2
    assert written == []
    assert all(word in error for word in ("absent.png", "absent.safetensors", "steps"))


def test_fingerprints_are_of_the_shipped_files() -> None:
    fingerprint = load_demo("stylegan2-generator").fingerprint
    assert load_demo("editgan-encoder").generator == fingerprint
    assert load_demo("editgan-segmenter").generator == fingerprint
