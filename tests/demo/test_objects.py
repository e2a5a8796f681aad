"""The objects are ground truth: solids against closed forms, pictures, depth and normals against the surface itself."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.demo import train_objects
from latent_atelier.demo.denoisers import written
from latent_atelier.demo.objects import CLASSES, make_object
from latent_atelier.demo.solids import Body, ball, block, cone, cylinder, profile, tapered
from latent_atelier.pipelines.langevin.denoiser import NetworkDenoiser
from latent_atelier.pipelines.langevin.fields.cameras import FOV, orbit
from latent_atelier.pipelines.langevin.position import Labels, pose_features
from latent_atelier.pipelines.langevin.training import DenoiserRecipe, train_denoiser
from latent_atelier.pipelines.training.data import seeded

GREY = (0.5, 0.5, 0.5)
DISTANCE, RADIUS = 3.5, 0.6


def test_a_ball_is_seen_as_its_closed_form() -> None:
    camera = orbit(30.0, 20.0, DISTANCE)
    found = Body("ball", (ball((0, 0, 0), (RADIUS, RADIUS, RADIUS), GREY),)).picture(camera, 33)
    _, directions = camera.rays(33, 33)
    away = directions[0].numpy()
    origin = camera.positions[0].numpy()
    b = away @ origin
    root = b**2 - (origin @ origin - RADIUS**2)
    depth = np.where(root > 0, -b - np.sqrt(np.maximum(root, 0)), 0)
    assert np.allclose(found.depth, depth, atol=2e-5)
    points = origin + depth[..., None] * away
    assert np.allclose(found.normals, np.where(root > 0, 1, 0)[..., None] * points / RADIUS, atol=1e-4)
    seen = math.tan(math.asin(RADIUS / DISTANCE)) / math.tan(math.radians(FOV / 2)) / 2
    assert found.coverage.mean() == pytest.approx(math.pi * seen**2, rel=0.01)
    assert np.array_equal(found.colour[0, 0], np.ones(3))


@pytest.mark.parametrize(("azimuth", "normal", "depth"), [
    (0.0, (0, 0, 1), DISTANCE - 0.4), (90.0, (1, 0, 0), DISTANCE - 0.2), (180.0, (0, 0, -1), DISTANCE - 0.4)])
def test_a_box_shows_the_side_that_the_azimuth_says(azimuth: float, normal: tuple[int, ...], depth: float) -> None:
    found = Body("box", (block((0, 0, 0), (0.2, 0.3, 0.4), GREY),)).picture(orbit(azimuth, 0.0, DISTANCE), 31)
    assert found.depth[15, 15] == pytest.approx(depth, abs=1e-4)
    assert np.allclose(found.normals[15, 15], normal, atol=1e-6)


SOLIDS = {"turned box": block((0.1, 0, 0), (0.3, 0.2, 0.5), GREY, bevel=0.05, turn=25), "cone": cone(-0.4, 0.6, 0.5, 0.1, GREY),
          "post": cylinder((0, 0.1, 0), 0.3, 0.4, GREY, axis=2), "egg": ball((0, 0.1, 0), (0.3, 0.5, 0.2), GREY, turn=40),
          "profile": profile([(-0.4, 0), (0.5, 0), (0.3, 0.4), (-0.3, 0.3)], 0.3, GREY, bevel=0.04),
          "tapered": tapered(-0.3, 0.3, (-0.4, 0.4, -0.3, 0.5), (-0.2, 0.2, -0.2, 0.3), GREY)}


@pytest.mark.parametrize("name", SOLIDS)
def test_rays_end_on_the_surface_and_normals_are_its_gradient(name: str) -> None:
    solid = SOLIDS[name]
    camera = orbit(40.0, 25.0, DISTANCE)
    found = Body(name, (solid,)).picture(camera, 25)
    origins, directions = (x[0].numpy() for x in camera.rays(25, 25))
    met = found.depth > 0
    assert met.sum() > 20
    points = (origins + found.depth[..., None] * directions)[met].astype(np.float32)
    assert np.abs(solid.distance(points)).max() < 2e-4
    step, normals = np.float32(1e-3), found.normals[met]
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-5)
    assert (solid.distance(points - step * normals) < 0).mean() > 0.95  # but for points next to an acute edge
    assert (solid.distance(points + step * normals) > 0).all()
    low, high = solid.box.min(axis=0), solid.box.max(axis=0)
    assert (points >= low - 1e-4).all()
    assert (points <= high + 1e-4).all()


@pytest.mark.parametrize("kind", CLASSES)
def test_objects_follow_from_their_seed_and_stay_in_the_cube(kind: str) -> None:
    one, two, other = make_object(kind, 3), make_object(kind, 3), make_object(kind, 4)
    camera = orbit(35.0, 20.0)
    first, second = one.picture(camera, 32), two.picture(camera, 32)
    assert np.array_equal(first.colour, second.colour)
    assert not np.array_equal(first.colour, other.picture(camera, 32).colour)
    assert 0.05 < first.coverage.mean() < 0.6
    assert first.coverage[0].max() == first.coverage[:, 0].max() == 0
    assert not np.array_equal(first.colour, one.picture(orbit(215.0, 20.0), 32).colour)
    outside = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
    outside[np.arange(500), np.arange(500) % 3] = np.where(np.arange(500) % 2, 1.0, -1.0)
    assert (one.distance(outside) > 0).all()


def test_pictures_are_antialiased() -> None:
    body, camera = make_object("car", 7), orbit(60.0, 15.0)
    coarse, fine = body.picture(camera, 32), body.picture(camera, 160)
    shrunk = fine.colour.reshape(32, 5, 32, 5, 3).mean(axis=(1, 3))
    assert np.abs(coarse.colour - shrunk).mean() < 0.012
    assert np.abs(coarse.coverage.mean() - fine.coverage.mean()) < 0.004


def test_labels_say_the_pose_or_leave_it_open() -> None:
    labels = Labels(CLASSES, poses=True)
    camera = orbit([0.0, 90.0, -30.0], [0.0, 30.0, 45.0])
    condition = labels.condition("house")
    assert condition is not None
    found = condition(3, camera)
    assert found.shape == (3, labels.dim)
    assert torch.equal(found[:, :3], torch.tensor([[0.0, 1, 0]]).expand(3, 3))
    torch.testing.assert_close(found[1, 3:], torch.tensor([1.0, 0, 0, -1, 0.5]), atol=1e-6, rtol=0)
    assert not condition(2, None)[:, 3:].any()
    assert not pose_features(torch.full((2, 2), math.nan)).any()


@pytest.mark.usefixtures("one_thread")
def test_the_recipe_begins_goes_on_and_is_loaded_with_its_poses(tmp_path: Path) -> None:
    data = train_objects.seen(6, 5)
    pictures, classes, poses = data.draw(40, seeded(0))
    assert pictures.shape == (40, 3, 64, 64)
    assert set(classes.tolist()) == {0, 1, 2}
    assert float(poses[:, 1].min()) >= 0
    assert float(poses[:, 1].max()) <= train_objects.HIGHEST
    recipe = DenoiserRecipe(width=8, multipliers=(1, 2), patch=8, attention=True, batch=4, steps=2)
    network = train_denoiser(data, recipe, tmp_path / "run").ema
    written(tmp_path / "objects.safetensors", network)
    loaded = load_checkpoint(tmp_path / "objects.safetensors")
    assert (loaded.config["classes"], loaded.config["poses"]) == (list(CLASSES), True)
    denoiser = NetworkDenoiser(loaded.module, sigma_data=network.sigma_data, label=network.labels.condition("car"))
    assert denoiser(pictures[:2], 0.5, orbit([0.0, 90.0], 10.0)).shape == (2, 3, 64, 64)
