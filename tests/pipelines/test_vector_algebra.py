"""Edit vectors form a vector space; the library finds them again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.editgan.latents import WPlus
from latent_atelier.pipelines.editgan.vector_algebra import average, combine, from_pair, negate, orthogonalise
from latent_atelier.pipelines.editgan.vector_library import describe, library_sheet, read_library
from latent_atelier.pipelines.editgan.vectors import EditVector, apply_vector, load_thumbnail, load_vector, save_vector
from latent_atelier.pipelines.errors import FingerprintMismatchError, InvalidInputError

OWN = "ab" * 32


def vector(seed: int, name: str = "edit", **fields) -> EditVector:
    delta = torch.randn(6, 8, generator=torch.Generator().manual_seed(seed))
    return EditVector(delta, name=name, **{"fingerprint": OWN, "generator": "cars.safetensors", **fields})


def codes(seed: int = 0, count: int = 2) -> WPlus:
    return WPlus(torch.randn(count, 6, 8, generator=torch.Generator().manual_seed(seed)), OWN, generator="cars.safetensors")


@settings(max_examples=30, deadline=None)
@given(strengths=st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=4))
def test_one_combined_vector_does_what_the_several_do(strengths: list[float]) -> None:
    vectors = [vector(i, f"v{i}", labels=("tyre", f"p{i}")) for i in range(len(strengths))]
    w = codes()
    one_by_one = w
    for v, s in zip(vectors, strengths, strict=True):
        one_by_one = apply_vector(one_by_one, v, s)
    combined = combine(vectors, strengths)
    assert torch.allclose(apply_vector(w, combined, 1.0).codes, one_by_one.codes, atol=1e-4)
    assert combined.labels == ("tyre", *(f"p{i}" for i in range(len(strengths))))
    assert combined.fingerprint == OWN


def test_a_vector_and_its_opposite_cancel() -> None:
    v = vector(1, strength_range=(-1.0, 3.0))
    assert combine([v, negate(v)], [1.0, 1.0]).delta.abs().max() == 0
    assert negate(v).strength_range == (-3.0, 1.0)
    assert torch.allclose(average([v, vector(2)]).delta, (v.delta + vector(2).delta) / 2)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 4), per_row=st.booleans(), repeat=st.booleans())
def test_what_is_left_is_orthogonal_to_the_others(count: int, per_row: bool, repeat: bool) -> None:
    others = [vector(10 + i) for i in range(count)]
    if repeat:  # linearly dependent others
        others.append(combine(others, [0.5] * count))
    v = vector(3)
    left = orthogonalise(v, others, per_row=per_row)
    for other in others:
        products = left.delta * other.delta
        assert (products.sum(dim=1) if per_row else products.sum()).abs().max() < 1e-4
    assert left.delta.norm() <= v.delta.norm() + 1e-5
    again = orthogonalise(left, others, per_row=per_row)
    assert torch.allclose(again.delta, left.delta, atol=1e-5)


def test_a_vector_without_anything_of_its_own_is_refused() -> None:
    v = vector(1, "wheels")
    with pytest.raises(InvalidInputError, match="Nothing of edit vector 'wheels' is left"):
        orthogonalise(v, [combine([v], [2.0])])
    assert orthogonalise(v, []) is v


def test_vectors_of_two_generators_do_not_add_up() -> None:
    other = vector(2, "face", fingerprint="cd" * 32, generator="faces.safetensors")
    with pytest.raises(FingerprintMismatchError, match=r"'face' belongs to generator 'faces.safetensors' \(cdcd.*cars"):
        combine([vector(1), other], [1, 1])
    with pytest.raises(FingerprintMismatchError, match=r"'faces.safetensors'.*'cars.safetensors'"):
        apply_vector(codes(), other, 1.0)
    unknown = vector(2, fingerprint="", generator="")
    assert combine([unknown, vector(1)], [1, 1]).fingerprint == OWN
    with pytest.raises(InvalidInputError, match="one finite strength"):
        combine([vector(1)], [float("nan")])


def test_tuned_generators_take_the_vectors_of_their_origin() -> None:
    tuned = dataclasses.replace(codes(), fingerprint="ee" * 32, tuned_from=OWN)
    assert torch.allclose(apply_vector(tuned, vector(1), 2.0).codes, tuned.codes + 2 * vector(1).delta)
    with pytest.raises(FingerprintMismatchError):
        apply_vector(tuned, vector(1, fingerprint="cd" * 32), 1.0)


def test_the_vector_of_a_pair_is_its_mean_change() -> None:
    before, v = codes(), vector(4)
    after = apply_vector(before, v, 1.0)
    found = from_pair(before, after, "pair", labels=["tyre"])
    assert torch.allclose(found.delta, v.delta, atol=1e-6)
    assert (found.edit_type, found.labels, found.fingerprint) == ("image pair", ("tyre",), OWN)
    with pytest.raises(InvalidInputError, match="as many pictures"):
        from_pair(before, codes(1, 3), "pair")
    with pytest.raises(FingerprintMismatchError):
        from_pair(before, dataclasses.replace(after, fingerprint="cd" * 32), "pair")


def test_the_library_finds_what_fits(tmp_path: Path) -> None:
    picture = torch.rand(300, 200, 3, generator=torch.Generator().manual_seed(0))
    save_vector(tmp_path / "a.safetensors", vector(1, "larger wheels", labels=("tyre",), tags=("fun",)), picture)
    save_vector(tmp_path / "b.safetensors", vector(2, "roof", labels=("roof",), edit_type="combined"))
    save_vector(tmp_path / "c.safetensors", vector(3, "smile", fingerprint="cd" * 32))
    (tmp_path / "d.safetensors").write_bytes(b"no vector")
    files = [(p.name, p) for p in tmp_path.iterdir()]

    def names(**question: str) -> list[str]:
        return [entry.file[0] for entry in read_library(files, **question)]

    assert names() == ["a", "b", "c"]
    assert names(part="tyre") == ["a"]
    assert names(tag="fun") == names(tag="WHEELS") == ["a"]
    assert names(edit_type="combined") == ["b"]
    assert names(fingerprint=OWN) == ["a", "b"]
    entries = read_library(files)
    assert entries[0].thumbnail.shape == (128, 85, 3)
    assert load_thumbnail(tmp_path / "b.safetensors") is None
    loaded = load_vector(tmp_path / "a.safetensors")
    assert (loaded.tags, loaded.generator) == (("fun",), "cars.safetensors")
    assert describe(entries[0]) == f"larger wheels (tyre; strengths -1 to 2; 'cars.safetensors' ({OWN[:16]})): a.safetensors"
    sheet = library_sheet(entries, cell=64, columns=2)
    assert sheet.shape == (1, 8 + 2 * (64 + 28), 8 + 2 * 72, 3)
    assert library_sheet([]).shape[0] == 1
