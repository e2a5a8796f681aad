"""Edit vectors: application, and files that come back whole or not at all."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.editgan.latents import WPlus
from latent_atelier.pipelines.editgan.vectors import EditVector, apply_vector, load_vector, save_vector
from latent_atelier.pipelines.errors import FingerprintMismatchError, InvalidInputError

CODES = WPlus(torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)), "ab" * 32)
DELTA = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
VECTOR = EditVector(DELTA, name="larger wheels", fingerprint="ab" * 32)
FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)

texts = st.text(max_size=20)
finite = st.floats(-10, 10)
json_values = st.recursive(st.none() | st.booleans() | st.integers(-2**53, 2**53) | st.floats(-1e6, 1e6) | texts,
                           lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=8)


@pytest.mark.parametrize("strength", [-1.0, 0.0, 0.5, 2.0])
def test_application_is_a_step_along_the_vector(strength: float) -> None:
    assert torch.equal(apply_vector(CODES, VECTOR, strength).codes, CODES.codes + strength * DELTA)


def test_application_to_some_rows() -> None:
    moved = apply_vector(CODES, VECTOR, 1.0, rows=(1, 2)).codes
    assert torch.equal(moved[:, [0, 3]], CODES.codes[:, [0, 3]])
    assert torch.equal(moved[:, 1:3], CODES.codes[:, 1:3] + DELTA[1:3])
    with pytest.raises(InvalidInputError, match=r"within 0\.\.3, got 2\.\.4"):
        apply_vector(CODES, VECTOR, 1.0, rows=(2, 4))


def test_vectors_that_do_not_belong() -> None:
    with pytest.raises(FingerprintMismatchError, match=r"'foreign'.*cdcdcdcdcdcdcdcd.*abababababababab"):
        apply_vector(CODES, EditVector(DELTA, name="foreign", fingerprint="cd" * 32), 1.0)
    with pytest.raises(InvalidInputError, match=r"shape \[3, 5\].*\[4, 5\]"):
        apply_vector(CODES, EditVector(DELTA[:3], name="short", fingerprint="ab" * 32), 1.0)
    with pytest.raises(InvalidInputError, match="finite number"):
        apply_vector(CODES, VECTOR, float("nan"))
    with pytest.raises(InvalidInputError, match="NaN"):
        EditVector(torch.full((4, 5), float("nan")), name="broken", fingerprint="")


@FOLDER
@given(st.integers(1, 18), st.integers(1, 64), texts, texts, texts, st.lists(texts, max_size=4), st.tuples(finite, finite),
       st.dictionaries(texts, json_values, max_size=3), st.integers(0, 99))
def test_files_come_back_whole(tmp_path: Path, rows: int, width: int, name: str, fingerprint: str, kind: str,
                               labels: list[str], strengths: tuple[float, float], provenance: dict[str, object],
                               seed: int) -> None:
    delta = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    vector = EditVector(delta, name=name, fingerprint=fingerprint, edit_type=kind, labels=tuple(labels),
                        strength_range=strengths, provenance=provenance)
    save_vector(tmp_path / "sub" / "v.safetensors", vector)
    read = load_vector(tmp_path / "sub" / "v.safetensors")
    assert torch.equal(read.delta, vector.delta)
    for field in ("name", "fingerprint", "edit_type", "labels", "strength_range", "provenance"):
        assert getattr(read, field) == getattr(vector, field)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["v.safetensors"]


@FOLDER
@given(st.data())
def test_damaged_files_are_named_or_still_a_vector(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "v.safetensors"
    save_vector(path, VECTOR)
    content = bytearray(path.read_bytes())
    how = data.draw(st.sampled_from(["cut", "flip", "header"]))
    if how == "cut":
        content = content[:data.draw(st.integers(0, len(content) - 1))]
    elif how == "flip":
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    else:
        content[:8] = struct.pack("<Q", data.draw(st.integers(0, 2**64 - 1)))
    path.write_bytes(content)
    with contextlib.suppress(InvalidInputError):
        read = load_vector(path)
        assert read.delta.ndim == 2
        assert bool(torch.isfinite(read.delta).all())


def test_the_official_array_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "smile.npy", DELTA[None].numpy())
    vector = load_vector(tmp_path / "smile.npy")
    assert (vector.name, vector.fingerprint, vector.edit_type) == ("smile", "", "imported")
    assert torch.equal(apply_vector(CODES, vector, 1.0).codes, CODES.codes + DELTA)


@FOLDER
@given(st.binary(max_size=200))
def test_arrays_that_are_none(tmp_path: Path, content: bytes) -> None:
    buffer = io.BytesIO()
    np.save(buffer, DELTA[None].numpy())
    for bad in (content, buffer.getvalue()[:100] + content, np.lib.format.MAGIC_PREFIX + content):
        (tmp_path / "v.npy").write_bytes(bad)
        with contextlib.suppress(InvalidInputError):
            assert load_vector(tmp_path / "v.npy").delta.ndim == 2


def test_arrays_of_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInputError, match="not a readable NumPy array"):
        load_vector(tmp_path / "v.npy")


def test_a_file_far_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "v.safetensors").open("wb") as file:
        file.truncate(2**26)
    with pytest.raises(InvalidInputError, match="at most"):
        load_vector(tmp_path / "v.safetensors")
    with pytest.raises(InvalidInputError, match=r"no edit vector file 'absent\.safetensors'"):
        load_vector(tmp_path / "absent.safetensors")
