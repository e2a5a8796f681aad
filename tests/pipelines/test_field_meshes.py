"""Surfaces of fields against closed forms and an independent reader; fields kept in files."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.fields.cameras import orbit
from latent_atelier.pipelines.langevin.fields.field_file import METADATA_KEY, load_field, save_field
from latent_atelier.pipelines.langevin.fields.meshes import (
    DensityGrid,
    EmptyFieldError,
    Mesh,
    density_grid,
    extract_mesh,
    otsu,
    to_linear,
)
from latent_atelier.pipelines.langevin.fields.radiance_field import FieldConfig, RadianceField, field_config, new_field
from latent_atelier.pipelines.langevin.fields.rendering import Sampling, render
from safetensors.torch import load_file, save_file

pytestmark = pytest.mark.usefixtures("one_thread")


def ball(**changes) -> RadianceField:
    """The density is scale softplus(blob (1 - r / 0.5) - 1), blob 10, the colour 0.5."""
    field = new_field(FieldConfig(**({"blob": 10.0, "blob_radius": 0.5, "resolution": 8, "features": 2} | changes)))
    with torch.no_grad():
        for head in (field.density_head, field.colour_head):
            head.weight.zero_()
    return field


def surface(field: RadianceField, side: int, **options) -> Mesh:
    return extract_mesh(field, density_grid(field.density, side), **options)


def opened(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices.numpy(), mesh.faces.numpy(), process=False)


@pytest.mark.parametrize("level", [5.0, 40.0])
def test_the_surface_lies_where_the_density_has_the_level(level) -> None:
    mesh = surface(ball(), 64, level=level)
    radius = 0.5 * (1 - (1 + math.log(math.expm1(level / 10))) / 10)
    assert torch.allclose(mesh.vertices.norm(dim=1), torch.tensor(radius), atol=2e-3)
    solid = opened(mesh)
    assert solid.is_watertight
    assert solid.is_winding_consistent
    assert solid.volume == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.01)
    assert torch.allclose(mesh.normals, mesh.vertices / radius, atol=0.02)
    assert torch.allclose(mesh.colours, torch.tensor(0.5), atol=1e-4)


def test_the_level_is_found_between_air_and_solid() -> None:
    rng = np.random.default_rng(0)
    density = np.where(rng.uniform(size=(32, 32, 32)) < 0.1, rng.uniform(60, 90, (32,) * 3), rng.uniform(0, 0.6, (32,) * 3))
    assert 0.6 < DensityGrid(density.astype(np.float32)).level < 60
    assert -1 < otsu(np.concatenate([rng.normal(-3, 0.4, 500), rng.normal(2, 0.4, 90)]).astype(np.float32)) < 1


def cubes() -> DensityGrid:
    density = np.zeros((24, 24, 24), np.float32)
    density[2:6, 2:6, 2:6] = 50
    density[10:20, 10:20, 10:20] = 50
    density[13:16, 13:16, 13:16] = 0
    return DensityGrid(density)


def test_cavities_are_filled_and_the_largest_piece_is_kept() -> None:
    both, one = cubes().solid(25.0, largest=False), cubes().solid(25.0, largest=True)
    assert both[3, 3, 3] == 50
    assert (one[:8] == 0).all()
    for found in (both, one):
        assert (found[10:20, 10:20, 10:20] == 50).all()


def test_what_leaves_the_cube_is_cut_off_flat() -> None:
    mesh = surface(ball(blob_radius=1.3), 32, level=10.0)
    assert opened(mesh).is_watertight
    assert float(mesh.vertices.abs().max()) < 1.07


def test_an_empty_field_is_a_sentence() -> None:
    with pytest.raises(EmptyFieldError, match=r"hides more than \d+ % .* fit it longer"):
        surface(ball(density_scale=0.01), 16)
    with pytest.raises(InvalidInputError, match="highest density"):
        surface(ball(), 16, level=1e5)
    with pytest.raises(InvalidInputError, match="at least 8"):
        surface(ball(), 4)


def test_colours_become_linear_light_as_the_standard_says() -> None:
    found = to_linear(torch.tensor([0.0, 0.04045, 0.5, 1.0]))
    assert torch.allclose(found, torch.tensor([0.0, 0.0031308, 0.2140411, 1.0]), atol=1e-6)


@pytest.mark.parametrize("config", [field_config("planes", resolution=12, directional=True, background="learned"),
                                    field_config("mlp", width=8), field_config("hash", levels=2, table=8, resolution=32,
                                                                               channels=4, colour="linear")])
def test_a_saved_field_shows_the_same(config, tmp_path: Path) -> None:
    field = new_field(config, 5)
    save_field(tmp_path / "field.safetensors", field)
    found = load_field(tmp_path / "field.safetensors")
    assert found.config == config
    one, two = (render(f, orbit(20.0, 10.0), 8, 8, f.shown_background(), Sampling(8, 8)).colour for f in (field, found))
    assert torch.equal(one, two)


def test_a_damaged_field_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "field.safetensors"
    save_field(path, new_field(field_config("planes", resolution=8)))
    whole, numbers = path.read_bytes(), load_file(path)
    path.write_bytes(whole[:-20])
    with pytest.raises(InvalidInputError, match=r"'field.safetensors' is not a readable radiance field"):
        load_field(path)
    for changed in ({"format": 9, "config": {}}, {"format": 1, "config": {"resolution": 4096, "features": 64}},
                    {"format": 1, "config": {"form": "cloud"}}, {"format": 1, "config": {"colour_of": 1}}):
        save_file(numbers, path, {METADATA_KEY: json.dumps(changed)})
        with pytest.raises(InvalidInputError):
            load_field(path)


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_field_or_a_sentence(tmp_path_factory, content) -> None:
    path = tmp_path_factory.mktemp("f") / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError):
        load_field(path)
