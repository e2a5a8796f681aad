"""Fields from posed pictures, against the object that the pictures show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from latent_atelier.demo.objects import make_object
from latent_atelier.pipelines.errors import InvalidInputError, TrainingStateError
from latent_atelier.pipelines.langevin.fields.cameras import orbit, random_orbits
from latent_atelier.pipelines.langevin.fields.field_learner import Learning
from latent_atelier.pipelines.langevin.fields.fitting import FitSettings, PosedImages, fit_images
from latent_atelier.pipelines.langevin.fields.radiance_field import FieldConfig, RadianceField, field_config
from latent_atelier.pipelines.langevin.fields.rendering import Sampling, render
from latent_atelier.pipelines.steps import StepInfo
from latent_atelier.pipelines.training.data import seeded
from shots import psnr, shots

pytestmark = pytest.mark.usefixtures("one_thread")
FINE = Sampling(48, 96)
SMALL = {"blob": 5.0, "blob_radius": 0.6, "resolution": 32, "features": 8}


def seen(field: RadianceField, cameras, size: int):
    found = render(field, cameras, size, size, field.shown_background(), FINE)
    return found.colour.permute(0, 3, 1, 2), found.opacity


@pytest.mark.parametrize("form", ["planes", "mlp", "hash"])
def test_a_fitted_field_shows_the_object_from_where_it_was_not_seen(form) -> None:
    body = make_object("house", (77, 1))
    cameras, hidden = (random_orbits(n, seeded(n), elevation=(0, 40)) for n in (24, 4))
    pictures, _ = shots(body, cameras, 32)
    truth, cover = shots(body, hidden, 32)
    own = {"planes": SMALL, "mlp": {"blob": 5.0, "blob_radius": 0.6, "width": 32, "depth": 3}, "hash": {
        "blob": 5.0, "blob_radius": 0.6, "levels": 4, "table": 12, "resolution": 48, "width": 32}}[form]
    steps, rate = {"planes": (140, 0.05), "mlp": (190, 0.06), "hash": (110, 0.05)}[form]
    settings = FitSettings(steps, 640, 3, Learning(rate, Sampling(24, 48)))
    field = fit_images(PosedImages(pictures, cameras), field_config(form, **own), settings)
    found, opacity = seen(field, hidden, 32)
    assert psnr(found, truth) > {"planes": 24.0, "mlp": 21.0, "hash": 23.0}[form]
    assert psnr(torch.ones_like(truth), truth) < 14
    both, either = ((opacity > 0.5) & (cover > 0.5)).sum(), ((opacity > 0.5) | (cover > 0.5)).sum()
    assert both / either > 0.9


def test_masks_make_the_background_transparent_whatever_lies_behind() -> None:
    body = make_object("tree", (78, 2))
    cameras = random_orbits(16, seeded(1), elevation=(0, 40))
    pictures, cover = shots(body, cameras, 24)
    behind = torch.rand(16, 3, 1, 1, generator=seeded(2))
    over = pictures - (1 - cover[:, None]) + (1 - cover[:, None]) * behind
    alone = torch.where(cover[:, None] > 0.01, (pictures - 1 + cover[:, None]) / cover[:, None].clamp_min(0.01), pictures)
    settings = FitSettings(90, 640, 0, Learning(sampling=Sampling(24, 48)))
    masked = fit_images(PosedImages(alone.clamp(0, 1), cameras, cover), FieldConfig(background="random", **SMALL), settings)
    _, opacity = seen(masked, cameras[:4], 24)
    assert float((opacity - cover[:4]).abs().mean()) < 0.04
    unmasked = fit_images(PosedImages(over, cameras), FieldConfig(**SMALL), settings)
    assert float((seen(unmasked, cameras[:4], 24)[1] - cover[:4]).abs().mean()) > 0.1


class StopError(Exception):
    pass


def test_a_fit_that_was_stopped_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    pictures, _ = shots(make_object("car", (79, 0)), orbit([0.0, 120.0, 240.0], 20.0), 16)
    images = PosedImages(pictures, orbit([0.0, 120.0, 240.0], 20.0))
    config, settings = FieldConfig(**SMALL), FitSettings(16, 128, 0, Learning(refresh=7))

    def stop(info: StepInfo) -> None:
        if info.step == 9:
            raise StopError

    told: list[int] = []
    whole = fit_images(images, config, settings, on_step=lambda info: told.append(info.step))
    with pytest.raises(StopError):
        fit_images(images, config, settings, folder=tmp_path, on_step=stop)
    resumed = fit_images(images, config, settings, folder=tmp_path)
    assert told == list(range(1, 17))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    with pytest.raises(TrainingStateError, match="learning"):
        fit_images(images, config, replace(settings, learning=Learning(rate=0.01, refresh=7)), folder=tmp_path)
    with pytest.raises(TrainingStateError, match="pictures"):
        fit_images(PosedImages(pictures, orbit([0.0, 120.0, 239.0], 20.0)), config, settings, folder=tmp_path)
    with pytest.raises(TrainingStateError, match="pictures"):
        fit_images(PosedImages(pictures.flip(3) * 0.9, images.cameras), config, settings, folder=tmp_path)


def test_pictures_need_their_cameras() -> None:
    pictures = torch.zeros(3, 3, 8, 8)
    with pytest.raises(InvalidInputError, match=r"3, 3, 8, 8.* and 2 cameras"):
        PosedImages(pictures, orbit([0.0, 90.0], 0.0))
    with pytest.raises(InvalidInputError, match="mask"):
        PosedImages(pictures, orbit([0.0, 90.0, 180.0], 0.0), torch.zeros(3, 8, 9))
    with pytest.raises(InvalidInputError, match="3 channels and the field 4"):
        fit_images(PosedImages(pictures, orbit([0.0, 90.0, 180.0], 0.0)), FieldConfig(channels=4), FitSettings())


def test_pixels_are_seen_through_the_rays_of_their_picture() -> None:
    cameras = orbit([10.0, 100.0], [5.0, 40.0])
    pictures = torch.rand(2, 3, 6, 9, generator=seeded(0))
    images = PosedImages(pictures, cameras)
    origins, directions, colour, _ = images.draw(64, seeded(1))
    whole_origins, whole = cameras.rays(6, 9)
    flat = pictures.permute(0, 2, 3, 1).reshape(-1, 3)
    for i in range(64):
        where = int((flat == colour[i]).all(dim=1).nonzero()[0, 0])
        torch.testing.assert_close(directions[i], whole.reshape(-1, 3)[where])
        torch.testing.assert_close(origins[i], whole_origins.reshape(-1, 3)[where])
