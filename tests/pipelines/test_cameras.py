"""Where cameras stand, what their rays pass, and what a user may get wrong."""

from __future__ import annotations

import math

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.fields.cameras import Cameras, free, joined, look_at, orbit, random_orbits, turntable


@pytest.mark.parametrize(("azimuth", "elevation", "place", "up"), [
    (0, 0, (0, 0, 2), (0, 1, 0)), (90, 0, (2, 0, 0), (0, 1, 0)), (180, 0, (0, 0, -2), (0, 1, 0)),
    (0, 90, (0, 2, 0), (0, 0, -1)), (0, -90, (0, -2, 0), (0, 0, 1)), (90, 90, (0, 2, 0), (-1, 0, 0))])
def test_an_orbit_stands_where_its_angles_say(azimuth: float, elevation: float, place: tuple, up: tuple) -> None:
    camera = orbit(float(azimuth), float(elevation), 2.0)
    assert torch.allclose(camera.positions[0], torch.tensor(place).float(), atol=1e-6)
    assert torch.allclose(camera.poses[0, :3, 1], torch.tensor(up).float(), atol=1e-6)
    assert torch.allclose(camera.forward, -camera.positions / 2, atol=1e-6)
    assert torch.allclose(torch.linalg.det(camera.poses[:, :3, :3]), torch.ones(1))
    difference = (float(camera.azimuth) - azimuth + 180) % 360 - 180
    assert abs(difference) < 1e-3
    assert float(camera.elevation) == pytest.approx(elevation, abs=1e-3)
    assert float(camera.distance) == pytest.approx(2)


def test_right_of_the_picture_is_plus_x_from_the_front_and_row_0_is_up() -> None:
    origins, directions = orbit(0.0, 0.0, 2.0, 60.0).rays(3, 5)
    assert tuple(directions.shape) == tuple(origins.shape) == (1, 3, 5, 3)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(1, 3, 5))
    assert torch.allclose(directions[0, 1, 2], torch.tensor([0.0, 0.0, -1.0]), atol=1e-6)
    assert float(directions[0, 1, 4, 0]) > 0 > float(directions[0, 1, 0, 0])
    assert float(directions[0, 0, 2, 1]) > 0 > float(directions[0, 2, 2, 1])
    top = float(directions[0, 0, 2, 1] / -directions[0, 0, 2, 2])
    assert top == pytest.approx(math.tan(math.radians(30)) * 2 / 3)


def test_project_undoes_rays() -> None:
    cameras = random_orbits(6, torch.Generator().manual_seed(0), fov=(20.0, 70.0))
    origins, directions = cameras.rays(7, 4)
    for i in range(len(cameras)):
        points = (origins[i] + 1.7 * directions[i]).reshape(-1, 3)
        places, depth = cameras[i].project(points, 7, 4)
        rows, columns = torch.meshgrid(torch.arange(7) + 0.5, torch.arange(4) + 0.5, indexing="ij")
        assert torch.allclose(places[0], torch.stack([columns, rows], dim=-1).reshape(-1, 2), atol=1e-4)
        assert bool((depth > 0).all())


def test_look_at_equals_the_orbit_around_the_same_target() -> None:
    wanted = orbit([0.0, 40.0, -120.0], [5.0, 60.0, -20.0], 3.0, target=(0.2, 0.1, -0.3))
    found = look_at(wanted.positions, torch.tensor([0.2, 0.1, -0.3]))
    assert torch.allclose(found.poses, wanted.poses, atol=1e-5)
    above = look_at(torch.tensor([[0.0, 3.0, 0.0]]), torch.zeros(3))
    assert torch.allclose(above.poses, orbit(0.0, 90.0, 3.0).poses, atol=1e-6)


def test_batches_are_cut_and_joined() -> None:
    table = turntable(8)
    assert torch.equal(joined([table[:3], table[3], table[4:]]).poses, table.poses)
    assert torch.allclose(table.azimuth[2], torch.tensor(90.0))
    drawn = random_orbits(500, torch.Generator().manual_seed(1), elevation=(-30.0, 30.0))
    assert float(drawn.elevation.abs().max()) <= 30.001
    assert float((drawn.azimuth > 0).float().mean()) == pytest.approx(0.5, abs=0.02)
    assert torch.equal(drawn.poses, random_orbits(500, torch.Generator().manual_seed(1), elevation=(-30.0, 30.0)).poses)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: orbit([0.0, 1.0], [0.0, 1.0, 2.0]), "one number for all"), (lambda: orbit(0.0, 0.0, 0.0), "above 0"),
    (lambda: orbit(0.0, fov=180.0), "between 0 and 180"), (lambda: free(torch.eye(4)[None] * 2), "no rotation"),
    (lambda: free(torch.diag(torch.tensor([-1.0, 1, 1, 1]))[None]), "no rotation"),
    (lambda: free(torch.full((1, 4, 4), float("nan"))), "not finite"),
    (lambda: look_at(torch.zeros(1, 3), torch.zeros(3)), "stands where"),
    (lambda: Cameras(torch.eye(4), torch.tensor([40.0])), "poses")])
def test_a_bad_camera_is_refused_with_one_sentence(make, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        make()
    assert str(caught.value).count(". ") == 0
