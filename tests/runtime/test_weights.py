"""The manifest of official weights, and what is said about missing ones."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from latent_atelier.checkpoints.registry import ARCHITECTURES
from latent_atelier.headless.cli import main
from latent_atelier.nodes.catalogue import NODES
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.runtime import folders, weights

URL = {"type": "string", "pattern": "^https://[^ ]+$"}
NULLABLE_SIZE = {"type": ["integer", "null"], "minimum": 1}
SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["format", "entries"],
    "properties": {"format": {"const": 1}, "entries": {"type": "array", "items": {
        "type": "object", "additionalProperties": False,
        "required": ["name", "family", "architecture", "files", "folder", "part", "input_size", "value_range", "labels",
                     "license", "terms", "provenance", "used_by"],
        "properties": {
            "name": {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$"},
            "family": {"enum": ["stylegan2", "encoder", "label_branch", "perceptual", "identity", "edit_vector", "funit",
                                "unit", "denoiser"]},
            "architecture": {"type": "string", "minLength": 1},
            "folder": {"enum": [*folders.FAMILIES, None]},
            "part": {"enum": ["generator", "discriminator", "encoder", None]},
            "input_size": {"type": ["integer", "null"], "minimum": 4, "maximum": 4096},
            "value_range": {"type": ["array", "null"], "items": {"type": "number"}, "minItems": 2, "maxItems": 2},
            "labels": {"type": ["string", "null"]},
            "license": {"type": "string", "minLength": 3}, "terms": URL,
            "provenance": {"type": "string", "minLength": 3},
            "used_by": {"type": "array", "minItems": 1, "items": {"enum": [n.GET_SCHEMA().node_id for n in NODES]}},
            "files": {"type": "array", "minItems": 1, "items": {
                "type": "object", "additionalProperties": False, "required": ["name", "size", "sha256", "format"],
                "oneOf": [{"required": ["url"]}, {"required": ["page"]}, {"required": ["torchvision"]}],
                "properties": {
                    "name": {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]*$"}, "url": URL, "page": URL,
                    "torchvision": {"type": "string", "pattern": r"^\w+_Weights\.\w+$"},
                    "size": NULLABLE_SIZE, "sha256": {"type": ["string", "null"], "pattern": "^[0-9a-f]{64}$"},
                    "sha256_prefix": {"type": "string", "pattern": "^[0-9a-f]{8,63}$"},
                    "format": {"enum": ["pkl", "pt", "pth", "npy", "folder"]}}}}}}}}}


def test_the_manifest_keeps_its_schema() -> None:
    jsonschema.validate(json.loads(weights.MANIFEST.read_text()), SCHEMA)


def test_names_and_files_are_told_apart() -> None:
    entries = weights.manifest()
    assert len({entry.name for entry in entries}) == len(entries)
    files = [file.name for entry in entries for file in entry.files]
    assert len(set(files)) == len(files)
    known = {architecture.name for architecture in ARCHITECTURES}
    assert {entry.architecture for entry in entries if entry.folder is not None} <= known


def test_an_unknown_name_is_answered_with_its_neighbours() -> None:
    with pytest.raises(InvalidInputError, match="e4e-cars-encode"):
        weights.find("e4e")


def test_a_missing_official_model_is_told_how_to_get_it() -> None:
    with pytest.raises(folders.MissingModelError, match=r"License-NC; `atelier weights fetch stylegan2-car-config-f` gets it"):
        folders.model_path("stylegan2", "stylegan2-car-config-f.safetensors")
    with pytest.raises(folders.MissingModelError, match="a person has to download it at https://drive"):
        folders.model_path("encoders", "e4e-cars-encode.safetensors")
    with pytest.raises(folders.MissingModelError, match=r"there are: toy_cars_64\.safetensors\.$"):
        folders.model_path("encoders", "mine.safetensors")


def test_list_and_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "atelier" / "identity" / "arcface-ir-se50.safetensors"
    assert main(["weights", "path", "arcface-ir-se50", "--models", str(tmp_path)]) == 2
    assert str(target) in capsys.readouterr().err
    target.parent.mkdir(parents=True)
    target.touch()
    assert main(["weights", "path", "arcface-ir-se50", "--models", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert main(["weights", "list", "--models", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(weights.manifest())
    assert [line.split()[0] for line in lines if "imported" in line] == ["arcface-ir-se50"]
    assert main(["weights", "list", "identity"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_models_folder_has_to_be_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    monkeypatch.delenv("ATELIER_MODELS", raising=False)
    assert main(["weights", "path", "ffhq"]) == 2
    assert "--models, or set ATELIER_MODELS" in capsys.readouterr().err
    monkeypatch.setenv("ATELIER_MODELS", str(tmp_path))
    assert main(["weights", "verify"]) == 0
