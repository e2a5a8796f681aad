"""Canvases of one to three axes: every pixel is written once a sweep, and nothing depends on batches or order."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.canvas import Canvas, Crops, Frame, Known, framed
from latent_atelier.pipelines.langevin.denoiser import Guided, NetworkDenoiser, Region, Regions, View, constant
from latent_atelier.pipelines.langevin.gaussian import GaussianDenoiser, stationary_covariance, texture_denoiser
from latent_atelier.pipelines.langevin.inversion import Inversion
from latent_atelier.pipelines.langevin.noise import CanvasNoise
from latent_atelier.pipelines.langevin.presets import Preset, draw_canvas
from latent_atelier.pipelines.langevin.prior import PriorSettings, both, run_prior
from latent_atelier.pipelines.steps import StepInfo
from torch import Tensor, nn


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    axes = draw(st.integers(1, 3))
    crop = [draw(st.integers(3, 9)) for _ in range(axes)]
    size = [draw(st.integers(c, 4 * c)) for c in crop]
    margin = [draw(st.integers(0, (c - 1) // 2)) for c in crop]
    return framed(size, crop, margin, [draw(st.booleans()) for _ in range(axes)])


def all_crops(frame: Frame, seed: int) -> Crops:
    cells = frame.cells(seed)
    return Crops(frame, tuple(tuple(s[0] for s in c) for c in cells), tuple(tuple(slice(s[1], s[2]) for s in c) for c in cells))


@settings(max_examples=150, deadline=None)
@given(frame=frames(), seed=st.integers(0, 2**40))
def test_a_sweep_writes_every_pixel_once_with_its_margin(frame: Frame, seed: int) -> None:
    crops = all_crops(frame, seed)
    counted = torch.zeros(1, 1, *frame.size)
    for starts, kept in zip(crops.starts, crops.kept, strict=True):
        one, ones = Crops(frame, (starts,), (kept,)), torch.zeros(1, 1, *frame.size)
        one.scatter(torch.ones(1, 1, *frame.crop), ones)
        counted += ones
        for start, part, size, crop, margin, wrap in zip(starts, kept, frame.size, frame.crop, frame.margin, frame.wrap,
                                                         strict=True):
            assert wrap or 0 <= start <= size - crop
            assert part.start >= margin or (not wrap and start + part.start < margin + 1)
            assert crop - part.stop >= margin or (not wrap and size - (start + part.stop) <= margin)
    assert torch.equal(counted, torch.ones_like(counted))


@settings(max_examples=100, deadline=None)
@given(frame=frames(), seed=st.integers(0, 2**40))
def test_what_is_cut_out_comes_back_to_its_place(frame: Frame, seed: int) -> None:
    values, out = torch.randn(2, 3, *frame.size), torch.full((2, 3, *frame.size), math.nan)
    crops = all_crops(frame, seed)
    pair = Crops(frame, crops.starts, crops.kept, canvases=2)
    cut = pair.gather(values)
    assert cut.shape == (len(pair), 3, *frame.crop)
    pair.scatter(cut, out)
    assert torch.equal(out, values)
    assert torch.equal(crops.crop(values[0]), cut[::2])
    assert bool(((pair.centres >= 0) & (pair.centres <= 1)).all())


@settings(max_examples=60, deadline=None)
@given(frame=frames(), seed=st.integers(0, 2**40))
def test_a_pixel_has_the_same_noise_in_every_crop(frame: Frame, seed: int) -> None:
    noise = CanvasNoise([seed, 7])
    fields: list[Tensor] = []
    for sweep in (0, 1):
        crops = all_crops(frame, sweep)
        pair = Crops(frame, crops.starts, crops.kept, canvases=2)
        out = torch.zeros(2, 3, *frame.size)
        pair.scatter(noise(4, pair.gather(out), pair), out)
        fields.append(out)
    assert torch.equal(*fields)
    single = all_crops(frame, 0)
    alone = CanvasNoise([7])(4, single.gather(out[:1]), single)
    kept = torch.zeros(1, 3, *frame.size)
    single.scatter(alone, kept)
    assert torch.equal(kept[0], fields[0][1])


def test_noise_of_finished_draws_is_let_go() -> None:
    """What a run keeps in memory does not grow with its sweeps, and what is drawn again is the same."""
    frame = Frame((96, 320), (64, 64), (8, 8), (False, True))
    noise, like = CanvasNoise([1]), torch.zeros(1, 3, 64, 64)

    def drawn(draw: int) -> Tensor:
        crops = all_crops(frame, draw // 2)
        return noise(draw, like.expand(len(crops), -1, -1, -1), crops)

    def held() -> int:
        return sum(x.numel() for x in gc.get_objects() if type(x) is Tensor and x.dtype == torch.float32)

    first = drawn(0)
    drawn(1)
    before = held()
    for draw in range(2, 40):
        drawn(draw)
    assert held() - before <= 2 * 3 * 96 * 320
    assert torch.equal(drawn(0), first)


def test_noise_is_white_across_its_blocks() -> None:
    frame = Frame((400, 300), (400, 300), (0, 0), (False, False))
    crops = all_crops(frame, 0)
    field = CanvasNoise([3])(0, torch.zeros(1, 2, 400, 300), crops)[0]
    assert float(field.mean()) == pytest.approx(0, abs=0.01)
    assert float(field.std()) == pytest.approx(1, abs=0.01)
    for dims in ((1,), (2,)):
        assert float((field * field.roll(1, dims)).mean()) == pytest.approx(0, abs=0.01)
    assert float((field[0] * field[1]).mean()) == pytest.approx(0, abs=0.01)


def texture(size: int = 48) -> Tensor:
    """Autocovariance of a smooth periodic texture of variance 1."""
    f = torch.fft.fftfreq(size, dtype=torch.float64)
    power = 1 / (0.006 + f[:, None] ** 2 + f[None] ** 2) ** 1.6
    return torch.fft.ifft2(power / power.mean()).real


def denoiser_2d(crop: int = 12) -> GaussianDenoiser:
    return GaussianDenoiser(stationary_covariance(texture(), (crop, crop)).float(), (crop, crop))


FEW = PriorSettings(sweeps=6, inversion=Inversion("picard", steps=2))


def test_batches_change_nothing() -> None:
    denoiser, frame = denoiser_2d(), framed((40, 31), (12, 12), 0.125, (False, True))
    results: list[Tensor] = []
    for batch, seeds in ((1, [1, 2]), (64, [1, 2]), (5, [2])):
        canvas = Canvas(torch.zeros(len(seeds), 3, 40, 31), frame, batch=batch)
        run_prior(canvas, denoiser, FEW, CanvasNoise(seeds))
        results.append(canvas.values)
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-4)
    torch.testing.assert_close(results[2][0], results[0][1], rtol=0, atol=1e-4)


def test_a_run_is_whole_at_every_sweep_and_goes_on() -> None:
    denoiser, frame = denoiser_2d(), framed((30, 30), (12, 12), 0.125, (True, True))

    def fresh(values: Tensor) -> Canvas:
        return Canvas(values, frame)

    whole = fresh(torch.zeros(1, 1, 30, 30))
    run_prior(whole, denoiser, FEW, CanvasNoise([1]))

    class StopError(Exception):
        pass

    def stop(info: StepInfo) -> None:
        if info.step == 3:
            raise StopError

    half = fresh(torch.zeros(1, 1, 30, 30))
    with pytest.raises(StopError):
        run_prior(half, denoiser, FEW, CanvasNoise([1]), on_step=stop)
    again = fresh(half.preview())
    sweeps = run_prior(again, denoiser, FEW, CanvasNoise([1]), first=3)
    assert len(sweeps) == 3
    torch.testing.assert_close(again.values, whole.values)


def test_seams_are_gone_and_the_edges_meet() -> None:
    """Squared steps at the borders of the last sweep's cells, and across the edge, over those elsewhere."""
    denoiser, frame = denoiser_2d(), framed((48, 48), (12, 12), 0.125, (True, True))
    canvas = Canvas(torch.zeros(12, 1, 48, 48), frame, batch=400)
    run_prior(canvas, denoiser, PriorSettings(sweeps=64, tau=1.0, inversion=Inversion("naive"), sigma_min=0.02),
              CanvasNoise(list(range(12))))
    steps = (canvas.values - canvas.values.roll(1, 3)).square().mean(dim=(0, 1, 2))
    assert float(steps[0] / steps[1:].mean()) == pytest.approx(1, abs=0.25)
    assert float(canvas.values.var()) == pytest.approx(1, abs=0.2)


def test_known_pixels_stay_and_soft_masks_mix() -> None:
    known = torch.full((1, 1, 24, 24), 2.0)
    mask = torch.zeros(1, 24, 24)
    mask[:, :, :8] = 1
    frame = framed((24, 24), (12, 12), (2, 2), (False, False))
    canvas = Canvas(torch.zeros(1, 1, 24, 24), frame, constraints=[Known(known, mask)])
    run_prior(canvas, denoiser_2d(), FEW, CanvasNoise([0]))
    assert torch.equal(canvas.values[..., :8], known[..., :8])
    assert float(canvas.values[..., 8:].std()) > 0.1


@pytest.mark.parametrize("start", [0, 4])
def test_what_is_known_costs_nothing_and_changes_nothing(start: int) -> None:
    """A canvas whose left half is known, against one that denoises all of it: the same, by fewer calls."""
    class Everywhere(Canvas):
        def views(self, sweep: int, *, everywhere: bool = False) -> Iterator[Crops]:
            return super().views(sweep, everywhere=True)

    mask = torch.zeros(1, 24, 96)
    mask[:, :, :48] = 1
    frame, preset = framed((24, 96), (12, 12), 0.125, (False, True)), Preset(FEW, start=start)
    found, calls = [], []
    for kind in (Canvas, Everywhere):
        canvas = kind(torch.zeros(2, 1, 24, 96), frame, constraints=[Known(torch.full((1, 1, 24, 96), 0.5), mask)])
        calls.append(draw_canvas(canvas, denoiser_2d(), preset, CanvasNoise([0, 1])).calls)
        found.append(canvas.values)
    assert torch.allclose(*found, atol=1e-5)
    assert calls[0] < 0.8 * calls[1]


def test_rounds_make_the_rest_meet_what_is_known() -> None:
    """Squared steps across the border of a known half, of exact samples of the prior, over those of the samples there."""
    covariance = stationary_covariance(texture(), (12, 48))
    root = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(len(covariance)))
    drawn = root @ torch.randn(len(covariance), 16, generator=torch.Generator().manual_seed(0), dtype=covariance.dtype)
    truth, mask = drawn.T.reshape(16, 1, 12, 48).float(), torch.zeros(1, 12, 48)
    mask[:, :, :24] = 1
    prior = PriorSettings(sweeps=1, sigma_max=0.02, sigma_min=0.02, inversion=Inversion("naive"))

    def step(values: Tensor) -> float:
        return float((values[..., 24] - values[..., 23]).square().mean())

    found = []
    for rounds in (1, 8):
        canvas = Canvas(torch.zeros(16, 1, 12, 48), framed((12, 48), (12, 12), 0.125, (False, False)), batch=64,
                        constraints=[Known(truth, mask)])
        seen: list[StepInfo] = []
        draw_canvas(canvas, denoiser_2d(), Preset(prior, start=16, rounds=rounds), CanvasNoise(list(range(16))),
                    on_step=seen.append)
        assert [info.step for info in seen] == list(range(1, 16 * rounds - rounds + 3))
        assert {info.total for info in seen} == {len(seen)}
        found.append(step(canvas.values) / step(truth))
    assert found[0] > 1.8
    assert found[1] < 1.3


class Flat:
    """A denoiser that sees one value everywhere, and counts."""

    sigma_data = 1.0

    def __init__(self, value: float) -> None:
        self.value, self.calls = value, 0

    def __call__(self, x: Tensor, sigma: float, view: object = None) -> Tensor:
        self.calls += 1
        return torch.full_like(x, self.value)


def test_regions_mix_per_pixel_and_are_not_asked_elsewhere() -> None:
    weight = torch.zeros(1, 24, 24)
    weight[:, :, 12:] = 1
    weight[:, :, 11] = 0.25
    background, region = Flat(1.0), Flat(5.0)
    regions = Regions(background, [Region(region, weight)])
    frame = framed((24, 24), (12, 12), 0, (False, False))
    left = Crops(frame, ((0, 0),), ((slice(0, 12), slice(0, 12)),))
    found = regions(torch.zeros(1, 3, 12, 12), 1.0, left)
    assert float(found[0, 0, 0, 0]) == 1
    assert float(found[0, 0, 0, 11]) == 2
    right = Crops(frame, ((0, 12),), ((slice(0, 12), slice(0, 12)),))
    before = background.calls
    assert torch.equal(regions(torch.zeros(1, 3, 12, 12), 1.0, right), torch.full((1, 3, 12, 12), 5.0))
    assert background.calls == before
    with pytest.raises(InvalidInputError, match="need crops of a canvas"):
        regions(torch.zeros(1, 3, 12, 12), 1.0)


def test_regions_are_asked_for_their_crops_alone() -> None:
    class Heights:
        """Sees in every crop how far down it lies, and keeps how many it was asked for."""

        sigma_data = 1.0

        def __init__(self) -> None:
            self.asked: list[int] = []

        def __call__(self, x: Tensor, sigma: float, view: View | None = None) -> Tensor:
            assert isinstance(view, Crops)
            self.asked.append(len(x))
            assert len(view) == len(x)
            return view.centres[:, 0].float()[:, None, None, None].expand_as(x)

    frame = framed((48, 12), (12, 12), 0, (False, False))
    rows = Crops(frame, tuple((start, 0) for start in (0, 12, 24, 36)), ((slice(0, 12), slice(0, 12)),) * 4, canvases=2)
    weight = torch.zeros(1, 48, 12)
    weight[:, 12:24] = 1
    weight[:, 30:36] = 1
    background, region = Heights(), Heights()
    found = Regions(background, [Region(region, weight)])(torch.zeros(8, 3, 12, 12), 1.0, rows)
    torch.testing.assert_close(found[:, 0, 6, 0], torch.tensor([0.125, 0.375, 0.625, 0.875]).repeat_interleave(2))
    assert (background.asked, region.asked) == ([6], [4])


def test_guidance_computes_its_half_once() -> None:
    conditional, unconditional = Flat(3.0), Flat(1.0)
    guided = Guided(conditional, unconditional, 2.0)
    x = torch.zeros(1, 1, 4)
    main, aux = both(guided, unconditional, x, 1.0, None)
    assert (float(main[0, 0, 0]), float(aux[0, 0, 0])) == (5.0, 1.0)
    assert (conditional.calls, unconditional.calls) == (1, 1)


class Labelled(nn.Module):
    """Adds its label, and keeps the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        self.batches.append(len(x))
        assert labels is not None
        return x + labels.sum(dim=1)[:, None, None] * sigma[:, None, None]


def test_networks_are_asked_in_batches() -> None:
    network = Labelled()
    denoiser = NetworkDenoiser(network, sigma_data=0.5, label=constant(torch.tensor([1.0, 2.0])), batch=4)
    assert torch.equal(denoiser(torch.zeros(10, 1, 3), 2.0), torch.full((10, 1, 3), 6.0))
    assert network.batches == [4, 4, 2]


def test_a_texture_prior_has_the_colours_and_waves_of_its_picture() -> None:
    torch.manual_seed(0)
    field = torch.fft.ifft2(torch.fft.fft2(torch.randn(3, 48, 48, dtype=torch.float64)) * torch.fft.fft2(texture()).real.sqrt())
    picture = torch.tensor([[0.5], [0.2], [0.1]], dtype=torch.float64)[..., None] * field.real[:1] + 0.05 * field.real + 0.3
    denoiser = texture_denoiser(picture.float(), (12, 12))
    assert denoiser.sigma_data == pytest.approx(float(picture.var(dim=(1, 2)).mean().sqrt()), rel=0.1)
    far = denoiser(torch.randn(4, 3, 12, 12) * 1e4, 1e4)
    torch.testing.assert_close(far.mean(dim=(0, 2, 3)), picture.mean(dim=(1, 2)).float(), rtol=0, atol=0.3)
    with pytest.raises(InvalidInputError, match="at most 4096"):
        texture_denoiser(torch.zeros(3, 200, 200), (80, 80))


def test_wrong_settings_are_named() -> None:
    for wrong in ({"sweeps": 0}, {"sigma_min": 2.0, "sigma_max": 1.0}, {"tau": 5.0}, {"tau": 2.0, "churn": "exact"}):
        with pytest.raises(InvalidInputError):
            PriorSettings(**wrong)
    with pytest.raises(InvalidInputError, match="smaller than what the denoiser sees"):
        framed((10, 40), (12, 12), 0.1, (False, False))
    with pytest.raises(InvalidInputError, match="leaves nothing"):
        Frame((40,), (12,), (6,), (False,))
    with pytest.raises(InvalidInputError, match="no inversion"):
        Inversion("magic")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("schedule", ["geometric", "edm", "random", "constant"])
def test_schedules_fall_within_their_bounds(schedule: str) -> None:
    found = PriorSettings(sweeps=40, sigma_max=8, sigma_min=0.1, schedule=schedule, repeats=2).sigmas(0.5, seed=1)
    assert len(found) == 40
    assert all(0.05 - 1e-9 <= s <= 4 + 1e-9 for s in found)
    if schedule in ("geometric", "edm"):
        assert found[0] == found[1] == pytest.approx(4)
        assert found[-1] == pytest.approx(0.05)
        assert found == sorted(found, reverse=True)
