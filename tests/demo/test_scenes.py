"""The renderer is the ground truth of everything else: geometry, labels and pictures must agree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from latent_atelier.demo.scenes import BODY, CAR_LABEL_NAMES, HUB, TYRE, Car, render, render_batch


def cars(count: int, seed: int = 0) -> list[Car]:
    rng = np.random.default_rng(seed)
    return [Car.sample(rng) for _ in range(count)]


def wheels(labels: np.ndarray) -> np.ndarray:
    return (labels == TYRE) | (labels == HUB)


def test_same_parameters_same_car() -> None:
    for first, second in zip(cars(3), cars(3), strict=True):
        assert first == second
        for a, b in zip(render(first, 48), render(second, 48), strict=True):
            assert np.array_equal(a, b)
    assert cars(1, seed=1) != cars(1)


def test_every_part_is_seen() -> None:
    pictures, labels = render_batch(cars(50), 64)
    assert pictures.shape == (50, 64, 64, 3)
    assert labels.shape == (50, 64, 64)
    seen = [np.isin(part, labels) for part in range(len(CAR_LABEL_NAMES))]
    assert all(seen)
    per_picture = [len(np.unique(one)) for one in labels]
    assert min(per_picture) >= 11


@pytest.mark.parametrize("size", [32, 64, 128])
def test_labels_do_not_depend_on_the_size(size: int) -> None:
    """At any size a pixel has the label of the point at its centre: the same as a picture three times as fine says."""
    for car in cars(5):
        fine = render(car, 3 * size)[1]
        assert np.array_equal(render(car, size)[1], fine[1::3, 1::3])


def test_picture_is_antialiased_and_its_mean_is_that_of_a_fine_one() -> None:
    for car in cars(5):
        coarse, fine = (render(car, size)[0].astype(float) for size in (64, 512))
        box = fine.reshape(64, 8, 64, 8, 3).mean(axis=(1, 3))
        assert np.abs(coarse - box).mean() < 1.0
        assert len(np.unique(coarse.reshape(-1, 3), axis=0)) > 200


def test_picture_and_labels_agree_away_from_edges() -> None:
    """Pixels whose neighbourhood has one label show that part's colour."""
    for car in cars(5):
        picture, labels = render(car, 128)
        inner = np.ones_like(labels, bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                inner &= np.roll(labels, (dy, dx), (0, 1)) == labels
        hub = picture[inner & (labels == HUB)] / 255
        assert np.abs(hub - np.asarray(car.hub_colour)).max() < 0.01
        body = picture[inner & (labels == BODY)] / 255
        shade = body.mean(axis=1) / np.mean(car.body_colour)
        assert 0.7 < shade.min() <= shade.max() < 1.2


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.3])
def test_wheel_area_is_that_of_two_discs(scale: float) -> None:
    for car in cars(10):
        _, labels = render(car.replace(wheel_scale=scale), 256)
        radius = car.wheel_radius * scale
        if 2 * radius > car.wheelbase or car.axle_y + radius > 1:
            continue
        assert wheels(labels).sum() / 256**2 == pytest.approx(2 * math.pi * radius**2, rel=0.01)
        assert (labels == HUB).sum() / 256**2 == pytest.approx(2 * math.pi * (radius * car.hub_ratio) ** 2, rel=0.02)


def test_wheel_scale_changes_nothing_but_the_wheels() -> None:
    for car in cars(10):
        (before, labels_before), (after, labels_after) = (render(car.replace(wheel_scale=s), 128) for s in (1.0, 1.3))
        grown = wheels(labels_after)
        assert (wheels(labels_before) <= grown).all()
        assert np.array_equal(labels_before[~grown], labels_after[~grown])
        padded = grown.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                padded |= np.roll(grown, step, axis)
        assert np.array_equal(before[~padded], after[~padded])


def test_facing_mirrors_the_car() -> None:
    car = cars(1)[0].replace(center_x=0.5)
    right, left = (render(car.replace(facing=facing), 64)[1] for facing in (1, -1))
    assert (right == left[:, ::-1]).mean() > 0.999
