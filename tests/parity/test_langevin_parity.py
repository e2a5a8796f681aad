"""One step of Algorithm 1 under six inversions, and what it settles at, on a Gaussian prior whose answers are exact."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from langevin_exact import Spectrum, band_powers, divergence, sweep_covariance
from latent_atelier.pipelines.langevin.canvas import Canvas, framed
from latent_atelier.pipelines.langevin.gaussian import GaussianDenoiser, stationary_covariance
from latent_atelier.pipelines.langevin.inversion import Inversion
from latent_atelier.pipelines.langevin.prior import PriorSettings, euler_churn, langevin_step, run_prior
from safetensors.torch import load_file
from torch import Tensor

COMMITTED = Path(__file__).parents[1] / "parity_data" / "langevin"
SHARED = Path(os.environ.get("ATELIER_PARITY", Path(__file__).parents[3] / "shared" / "parity")) / "langevin"
KINDS = {"naive": Inversion("naive"), "gd20": Inversion("descent"), "ode12_euler": Inversion("ode"),
         "ode12_heun": Inversion("heun"), "adam20_lr0.03sigma": Inversion("backprop")}


@pytest.fixture(params=["committed", "full"])
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Tensor]]:
    folder = COMMITTED if request.param == "committed" else SHARED
    if not folder.is_dir():
        pytest.skip("the full fixtures do not lie beside this checkout; the copy is compared")
    return json.loads((folder / "analytic_gp.json").read_text()), load_file(folder / "analytic_gp.safetensors")


class Unit(GaussianDenoiser):
    """The prior with the deviation that the fixture's settings are in units of."""

    sigma_data = 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_one_step(case: tuple[dict[str, Any], dict[str, Tensor]], kind: str) -> None:
    facts, t = case
    denoiser = Unit(t["C"], (32,))
    settings = PriorSettings(tau=facts["tau"], inversion=KINDS[kind], naive_below=0.0)
    x0, noise, eps = (t[name][:, None] for name in ("x0", "n", "eps"))
    step = langevin_step(x0, facts["sigma"], settings, denoiser, denoiser, noise, eps)
    for found, name in ((step.x_sigma, "x_sigma"), (step.x_prime, "x_prime"), (step.target, "x0_hat")):
        torch.testing.assert_close(found[:, 0], t[f"{kind}.{name}"], rtol=1e-9, atol=1e-9)


def test_one_step_from_the_exact_inverse(case: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    facts, t = case
    denoiser = Unit(t["C"], (32,))
    x0, sigma = t["x0"][:, None], facts["sigma"]
    x = denoiser.inverted(x0, sigma)
    torch.testing.assert_close(x[:, 0], t["exact.x_sigma"], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(denoiser(x, sigma), x0, rtol=1e-8, atol=1e-8)
    after = euler_churn(x, denoiser(x, sigma), sigma, facts["tau"], t["eps"][:, None])
    target = x0 + denoiser(after, sigma) - denoiser(x, sigma)
    torch.testing.assert_close(target[:, 0], t["exact.x0_hat"], rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(denoiser(x0, sigma)[:, 0], t["D_x0"], rtol=1e-9, atol=1e-9)


def test_stationary_covariance_of_a_window(case: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    """Each mode settles at Q / (1 - A^2), A and Q read off the engine's own step."""
    facts, t = case
    denoiser, sigma = Unit(t["C"], (32,)), facts["sigma"]
    modes, zero = denoiser.modes[0].T[:, None].contiguous(), torch.zeros(32, 1, 32, dtype=torch.float64)
    settings = PriorSettings(tau=facts["tau"], inversion=Inversion("naive"), naive_below=0.0)

    def response(x0: Tensor, noise: Tensor, eps: Tensor) -> Tensor:
        target = langevin_step(x0, sigma, settings, denoiser, denoiser, noise, eps).target
        return (target * modes).sum(dim=2)[:, 0]

    a, q1, q2 = response(modes, zero, zero), response(zero, modes, zero), response(zero, zero, modes)
    variance = (q1.square() + q2.square()) / (1 - a.square())
    basis = denoiser.modes[0]
    torch.testing.assert_close((basis * variance) @ basis.T, t["stationary_window_cov.naive"], rtol=1e-8, atol=1e-8)


def test_annealed_spectrum_of_a_canvas(case: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    """The fixture's spectrum is exact propagation by the engine's own step; then 512 canvases are really drawn."""
    _, t = case
    spectrum = t["spectrum"]
    autocovariance = torch.fft.ifft(spectrum).real
    denoiser = Unit(stationary_covariance(autocovariance, (32,)), (32,))
    settings = PriorSettings(sweeps=128, sigma_max=5.0, sigma_min=0.02, tau=1.0, inversion=Inversion("naive"))
    expected = t["annealed_spectrum.naive_tau1_margin4_n128"]
    exact = Spectrum.zero(256)
    for sigma in settings.sigmas(1.0):
        exact = sweep_covariance(exact, denoiser, sigma, settings, margin=4)
    torch.testing.assert_close(exact.power, expected, rtol=1e-6, atol=1e-8)
    assert divergence(expected, spectrum) == pytest.approx(0.000207, abs=2e-6)

    canvas = Canvas(torch.zeros(512, 1, 256, dtype=torch.float64), framed((256,), (32,), (4,), (True,)), batch=10**6)
    rng = torch.Generator().manual_seed(5)
    sweeps = run_prior(canvas, denoiser, settings,
                       lambda _, like, __: torch.randn(like.shape, generator=rng, dtype=like.dtype))
    assert sum(sweep.calls for sweep in sweeps) == 128 * 11 * 512 * 2
    power = torch.fft.fft(canvas.values[:, 0]).abs().square().mean(dim=0) / 256
    log_ratio = torch.log(power / expected)[:129]
    assert float(log_ratio.square().mean().sqrt()) < 0.06  # 512 canvases: 0.044 from sampling alone
    np.testing.assert_allclose(band_powers(power, spectrum, 32), band_powers(expected, spectrum, 32), rtol=0.075)
