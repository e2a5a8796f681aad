"""Whole ways of drawing a canvas: what they do with which denoiser, and how they refine what is there."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.canvas import Canvas, framed
from latent_atelier.pipelines.langevin.denoiser import Region, Regions
from latent_atelier.pipelines.langevin.gaussian import GaussianDenoiser
from latent_atelier.pipelines.langevin.inversion import Inversion
from latent_atelier.pipelines.langevin.noise import CanvasNoise
from latent_atelier.pipelines.langevin.presets import PRESETS, Preset, draw_canvas
from latent_atelier.pipelines.langevin.prior import PriorSettings
from torch import Tensor


def test_exact_denoisers_are_swept_from_higher_levels() -> None:
    """One network among the regions, whose crops drift apart there, and it is as with networks. Refining begins where asked."""
    def network(x: Tensor, sigma: float, view: object = None) -> Tensor:
        return x / (1 + sigma**2)

    exact, half, preset = GaussianDenoiser(torch.eye(144), (12, 12)), torch.full((1, 24, 36), 0.5), PRESETS["balanced"]
    chosen = preset.on(exact)
    assert chosen.on(exact) is chosen
    assert chosen.prior.sigma_max > preset.prior.sigma_max
    assert chosen.start + 2 * chosen.prior.sweeps == preset.start + 2 * preset.prior.sweeps, "a naive sweep calls twice"
    assert preset.on(Regions(exact, [Region(exact, half)])) == chosen
    for prior in (network, Regions(exact, [Region(network, half)]), Regions(network, [Region(exact, half)])):
        assert preset.on(prior) is preset
    assert preset.refining(0.5).on(exact).prior.sigma_max == 0.5
    canvas, told = Canvas(torch.zeros(1, 1, 24, 36), framed((24, 36), (12, 12), preset.margin, (False, True))), []
    draw_canvas(canvas, exact, preset, CanvasNoise([0]), on_step=told.append)
    assert [info.step for info in told] == list(range(1, chosen.steps + 1))
    assert {info.total for info in told} == {chosen.steps}


class White:
    """The exact denoiser of white noise of variance 1."""

    sigma_data = 1.0

    def __call__(self, x: Tensor, sigma: float, view: object = None) -> Tensor:
        return x / (1 + sigma**2)


@pytest.mark.parametrize("level", [0.5, 2.0, 10.0])
def test_a_refined_canvas_keeps_what_its_noise_leaves(level: float) -> None:
    """The ODE takes x + s n to (x + s n) / sqrt(1 + s^2)."""
    whole = Preset(PriorSettings(sweeps=1, sigma_max=0.02, sigma_min=0.02, inversion=Inversion("naive")), start=600)
    preset = whole.refining(level)
    assert preset.start == pytest.approx(600 * math.log(level / 0.02) / math.log(40 / 0.02), abs=1)
    held = torch.randn(1, 1, 48, 48, generator=torch.Generator().manual_seed(0))
    canvas = Canvas(held, framed((48, 48), (12, 12), 0.125, (False, False)), batch=64)
    draw_canvas(canvas, White(), preset, CanvasNoise([0]))
    kept = float((canvas.values * held).mean() / held.square().mean())
    assert kept == pytest.approx(1 / math.sqrt(1 + level**2), abs=0.04)
    assert float(canvas.values.var()) == pytest.approx(1, abs=0.06)


def test_a_preset_refines_by_its_start_only_above_its_priors_levels() -> None:
    whole = Preset(PriorSettings(sweeps=8, sigma_max=1.0), start=32, rounds=4)
    low, high = whole.refining(0.3), whole.refining(3.0)
    assert (low.start, low.prior.sigma_max, low.steps) == (0, 0.3, 8)
    assert (high.noised, high.rounds, high.prior) == (3.0, 4, whole.prior)
    assert whole.refining(0.001).prior.sigma_max == whole.prior.sigma_min
    assert replace(whole, start=0).refining(3.0).prior.sigma_max == 3.0
    least = replace(whole, prior=replace(whole.prior, sigma_max=0.01, sigma_min=0.01))
    assert (least.refining(0.015).start, least.refining(0.015).prior.sigma_max) == (0, 0.015)
    with pytest.raises(InvalidInputError, match=r"noises to above that, got 0\.01"):
        replace(whole, noised=0.01)
