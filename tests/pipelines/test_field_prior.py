"""A prior shapes a field: exact priors over known objects, where the right result is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from latent_atelier.demo.objects import make_object
from latent_atelier.pipelines.errors import InvalidInputError, TrainingStateError
from latent_atelier.pipelines.langevin.fields.cameras import orbit
from latent_atelier.pipelines.langevin.fields.field_learner import FieldLearner, Learning
from latent_atelier.pipelines.langevin.fields.field_prior import (
    PRIOR,
    ByDirection,
    FieldPrior,
    FieldPriorSettings,
    FieldViews,
    shape_field,
)
from latent_atelier.pipelines.langevin.fields.fitting import PosedImages
from latent_atelier.pipelines.langevin.fields.radiance_field import FieldConfig, new_field
from latent_atelier.pipelines.langevin.fields.rendering import Sampling
from latent_atelier.pipelines.langevin.noise import ViewNoise, coarse
from latent_atelier.pipelines.steps import StepInfo
from latent_atelier.pipelines.training.data import seeded
from object_priors import OneOf
from torch import Tensor

pytestmark = pytest.mark.usefixtures("one_thread")
SIZE = 20
CONFIG = FieldConfig(blob=5.0, blob_radius=0.6, resolution=24, features=8, width=24)
SETTINGS = FieldPriorSettings(prior=replace(PRIOR, sweeps=18), views=5, inner=8, rays=512, size=(SIZE, SIZE), start=30,
                              learning=Learning(0.05, Sampling(20, 40)))
HIDDEN = orbit([20.0, 110.0, 200.0, 290.0], [10.0, 30.0, 10.0, 30.0])


@pytest.fixture(scope="module")
def pair() -> OneOf:
    """A red and a blue saloon, and a tree."""
    return OneOf([make_object("car", (90, 6)), make_object("house", (90, 2))], SIZE)


def errors(job: FieldPrior, prior: OneOf) -> Tensor:
    """Of hidden views, root mean square, to each of the objects."""
    return (job.views.render(HIDDEN) - prior.views(HIDDEN)).square().flatten(1).mean(dim=1).sqrt()


def test_a_field_becomes_one_of_the_objects_from_all_sides(pair) -> None:
    job = FieldPrior(CONFIG, pair, SETTINGS)
    told: list[StepInfo] = []
    shape_field(job, on_step=told.append)
    best, other = errors(job, pair).sort().values
    assert best < 0.25 * other
    assert best < 0.2
    assert [info.step for info in told] == list(range(1, 19))
    assert 0 < told[-1].losses["share"] <= 1
    assert told[0].losses["sigma"] == pytest.approx(20.0)
    assert told[-1].preview is not None
    assert told[-1].preview().shape == (1, 3, 64, 64)


def test_other_seeds_are_other_objects() -> None:
    """Not the one that lies nearest to the mean of all every time."""
    several = OneOf([make_object("car", (91, i)) for i in range(6)], SIZE)
    found: set[int] = set()
    for seed in range(3):
        job = FieldPrior(CONFIG, several, replace(SETTINGS, seed=seed))
        shape_field(job)
        best, second, *_ = errors(job, several).sort()[0]
        assert best < 0.7 * second
        found.add(int(errors(job, several).argmin()))
    assert len(found) == 3


@pytest.mark.parametrize("wanted", [0, 1])
def test_a_photograph_decides_which(pair, wanted) -> None:
    """One picture, from one side; the views that are scored are from others."""
    camera = orbit([45.0], 20.0)
    anchor = PosedImages((pair.views(camera)[wanted] + 1) / 2, camera)
    job = FieldPrior(CONFIG, pair, SETTINGS, anchors=anchor)
    shape_field(job)
    found = errors(job, pair)
    assert found[wanted] < 0.4 * found[1 - wanted]


def test_where_pictures_are_given_the_common_noise_changes(pair) -> None:
    """Of 4x4 parts of a view of 20x20, by sweep: without pictures it stays for the whole run."""
    camera = orbit([45.0], 20.0)
    anchor = PosedImages((pair.views(camera)[0] + 1) / 2, camera)
    like = torch.zeros(1, 3, SIZE, SIZE)
    kept = []
    for anchors in (None, anchor):
        noise = FieldPrior(CONFIG, pair, SETTINGS, anchors=anchors).noise
        parts = [noise(2 * sweep, like, camera).unfold(2, 5, 5).unfold(3, 5, 5).mean(dim=(4, 5)) for sweep in range(18)]
        kept.append([torch.allclose(a, b, atol=1e-6) for a, b in pairwise(parts)])
    assert kept[0] == [True] * 17
    assert kept[1] == [False] * 17


def test_the_noise_of_a_photograph_decides_views_from_its_side_and_the_seed_the_others(pair) -> None:
    """From the first sweep on, unless there is a churn or other noise is given."""
    camera, behind = orbit([45.0], 20.0), orbit([225.0], 20.0)
    anchors = PosedImages((pair.views(camera)[0] + 1) / 2, camera)
    settings = replace(SETTINGS, prior=replace(PRIOR, sweeps=2, sigma_max=200.0, tau=0.0), start=0, inner=1)
    like = torch.zeros(1, 3, SIZE, SIZE)
    job = FieldPrior(CONFIG, pair, settings, anchors=anchors)
    job.step()
    assert job.photographs is not None
    seen = (job.photographs.noise, *(job.noise(0, like, view) for view in (camera, behind)))
    theirs, near, far = (coarse(x, 4) for x in seen)
    assert float((near - theirs).abs().mean()) < 0.1 < 0.5 < float((far - theirs).abs().mean())
    churned = FieldPrior(CONFIG, pair, replace(settings, prior=replace(settings.prior, tau=0.5)), anchors=anchors)
    churned.step()
    assert isinstance(churned.noise, ViewNoise)
    own = ViewNoise(3)
    job = FieldPrior(CONFIG, pair, settings, anchors=anchors, noise=own)
    job.step()
    assert job.noise is own


class StopError(Exception):
    pass


@pytest.mark.parametrize("photographs", [0, 2])
def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(pair, tmp_path: Path, photographs: int) -> None:
    prior = replace(PRIOR, sweeps=5, tau=0.0 if photographs else 0.5)
    settings = replace(SETTINGS, prior=prior, inner=2, start=4, coarse=0.4, views=2)
    cameras = orbit([45.0, 200.0], 20.0)
    anchors = PosedImages((pair.views(cameras)[0] + 1) / 2, cameras) if photographs else None
    whole = shape_field(FieldPrior(CONFIG, pair, settings, anchors=anchors))

    def stop(info: StepInfo) -> None:
        if info.step == 3:
            raise StopError

    with pytest.raises(StopError):
        shape_field(FieldPrior(CONFIG, pair, settings, anchors=anchors), folder=tmp_path, on_step=stop)
    resumed = shape_field(FieldPrior(CONFIG, pair, settings, anchors=anchors), folder=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    with pytest.raises(TrainingStateError, match="seed"):
        shape_field(FieldPrior(CONFIG, pair, replace(settings, seed=1), anchors=anchors), folder=tmp_path)


def test_the_share_is_that_of_the_targets_that_the_field_reached() -> None:
    """Views of one camera alone, learned for long, reach their target; learned for a step, hardly."""
    camera = orbit([30.0], 20.0)
    shares = []
    for inner in (1, 60):
        settings = replace(SETTINGS, kept=1, inner=inner, louder=True)
        views = FieldViews(FieldLearner(new_field(CONFIG), settings.learning, seeded(0)), settings)
        views.learner.see_space()
        views.measured = 0.0
        assert views.share == 0.0
        before = views.render(camera)
        target = before + 0.2 * torch.randn(1, 3, 1, 1, generator=seeded(1))
        views.update(camera, target)
        gone, wanted = views.render(camera) - before, target - before
        assert views.measured == pytest.approx(0.2 * float((gone * wanted).sum() / wanted.square().sum()), abs=1e-4)
        assert views.finish() == pytest.approx(float(gone.square().mean().sqrt()), rel=1e-4)
        shares.append(views.measured)
    assert shares[1] > 3 * shares[0] > 0


def test_the_start_ends_within_a_step_of_a_cancel(pair) -> None:
    checked: list[int] = []

    def stop() -> None:
        checked.append(len(checked))
        if len(checked) == 3:
            raise StopError

    job = FieldPrior(CONFIG, pair, replace(SETTINGS, start=40), check=stop)
    before = [parameter.detach().clone() for parameter in job.field.parameters()]
    with pytest.raises(StopError):
        shape_field(job)
    assert (len(checked), job.steps, job.sweeps) == (3, 0, [])
    assert any(not torch.equal(a, b) for a, b in zip(before, job.field.parameters(), strict=True))


def test_what_no_field_shows_counts_as_not_gone_only_in_the_share_of_the_target() -> None:
    """Colours that all pixels share are followed, noise of single pixels is not: by the second measure nearly all was gone."""
    camera, shares = orbit([30.0], 20.0), {}
    for share_of in ("target", "followed"):
        settings = replace(SETTINGS, kept=1, inner=60, louder=True, share_of=share_of)
        views = FieldViews(FieldLearner(new_field(CONFIG), settings.learning, seeded(0)), settings)
        views.learner.see_space()
        views.measured = 0.0
        before = views.render(camera)
        target = before + 0.2 * torch.randn(1, 3, 1, 1, generator=seeded(1)) + torch.randn(before.shape, generator=seeded(2))
        views.update(camera, target)
        gone, wanted = views.render(camera) - before, target - before
        shares[share_of] = views.share / 0.2
    along = float((gone * wanted).sum())
    assert shares["followed"] == pytest.approx(float(gone.square().sum()) / along, abs=1e-3)
    assert shares["target"] == pytest.approx(along / float(wanted.square().sum()), abs=1e-3)
    assert shares["target"] < 0.4 < 0.7 < shares["followed"] <= 1


def test_latent_fields_are_shown_in_the_units_of_their_denoiser() -> None:
    settings = replace(SETTINGS, size=(8, 8))
    config = replace(CONFIG, channels=4, colour="linear", background="black")
    views = FieldViews(FieldLearner(new_field(config), settings.learning, seeded(0)), settings)
    views.learner.see_space()
    target = torch.full((1, 4, 8, 8), 3.0)
    views.aim(orbit([0.0], 0.0), target)
    views.learn(150)
    shown = views.render(orbit([0.0], 0.0))
    assert shown.shape == (1, 4, 8, 8)
    assert float((shown - target).abs().mean()) < 0.6
    assert views.preview().shape == (1, 3, 64, 64)


def test_noise_of_views_is_normal_and_coarsely_common() -> None:
    like, noise = torch.zeros(200, 3, 18, 16), ViewNoise(5)
    found = noise(3, like, like)
    assert torch.equal(found[:4], noise(3, like[:4], like))
    assert not torch.equal(found, noise(4, like, like))
    centred = found - found.mean(dim=0)  # what is common is in the mean
    part = found[:, :, :5, :4].mean(dim=(2, 3))  # 18 rows in four parts: 5, 4, 5, 4
    assert float(part.std(dim=0).max()) < 1e-5
    several = torch.stack([ViewNoise(seed)(0, like[:1], like)[0] for seed in range(400)])
    assert several.mean().abs() < 0.02
    assert abs(several.std() - 1) < 0.02
    assert abs((several[..., 1:] * several[..., :-1]).mean()) < 0.02  # white in every view
    assert 0.85 < float(centred.std()) < 1


def test_what_views_have_in_common_can_last() -> None:
    like, noise = torch.zeros(2, 3, 16, 16), ViewNoise(5, lasting=4)

    def common(draw: int) -> torch.Tensor:
        return noise(draw, like, like)[0].unfold(1, 4, 4).unfold(2, 4, 4).mean(dim=(3, 4))

    inversion, churn = [common(2 * sweep) for sweep in range(5)], [common(2 * sweep + 1) for sweep in range(5)]
    for drawn in (inversion, churn):
        assert all(torch.allclose(drawn[0], other, atol=1e-6) for other in drawn[:4])
        assert not torch.allclose(drawn[0], drawn[4], atol=0.1)
    assert not torch.allclose(inversion[0], churn[0], atol=0.1)
    assert not torch.equal(noise(0, like, like), noise(2, like, like))  # what is a view's own changes
    assert torch.equal(ViewNoise(5)(3, like, like), ViewNoise(5, lasting=1)(3, like, like))


def test_prompts_by_direction() -> None:
    class Says:
        sigma_data = 0.5

        def __init__(self, value: float) -> None:
            self.value = value

        def __call__(self, x: Tensor, sigma: float, view: object = None) -> Tensor:
            return torch.full_like(x, self.value)

    cameras = orbit([0.0, 59.0, 90.0, -100.0, 180.0, 0.0], [0.0, 10.0, 0.0, 0.0, 0.0, 80.0])
    found = ByDirection(Says(0), Says(1), Says(2), Says(3))(torch.zeros(6, 1, 2, 2), 1.0, cameras)
    assert found[:, 0, 0, 0].tolist() == [0, 0, 1, 1, 2, 3]
    assert ByDirection(Says(7))(torch.zeros(6, 1, 2, 2), 1.0, cameras).unique().tolist() == [7]
    with pytest.raises(InvalidInputError, match="cameras"):
        ByDirection(Says(0))(torch.zeros(1, 1, 2, 2), 1.0, None)


def test_settings_that_cannot_be() -> None:
    for wrong in ({"views": 0}, {"anchored": 1.0}, {"size": (0, 8)}, {"coarse": 2.0}):
        with pytest.raises(InvalidInputError):
            replace(SETTINGS, **wrong)
    with pytest.raises(InvalidInputError, match="does not explain"):
        replace(PRIOR, keep=1.5)
