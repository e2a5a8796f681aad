"""The laws of Algorithm 1 that are known in closed form, held against the engine's own step.

For a Gaussian prior of variance S the denoiser multiplies with H = S / (S + s^2), and an update of one mode reads
x0 <- A x0 + N noise + E eps; the coefficients come from `langevin_step`, V = (N^2 + E^2) / (1 - A^2) is where it settles.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from langevin_exact import Spectrum, band_powers, crop_operators, divergence, sweep_covariance
from latent_atelier.pipelines.errors import InvalidInputError
from latent_atelier.pipelines.langevin.canvas import Canvas, Crops, Frame, Known, framed
from latent_atelier.pipelines.langevin.gaussian import GaussianDenoiser, stationary_covariance
from latent_atelier.pipelines.langevin.inversion import Inversion, invert
from latent_atelier.pipelines.langevin.noise import CanvasNoise, IndependentNoise, NoiseSource
from latent_atelier.pipelines.langevin.prior import PriorSettings, euler_churn, exact_churn, langevin_step, run_prior
from torch import Tensor

VARIANCES = (0.05, 0.3, 1.0, 4.0)
TAUS = (0.05, 0.2, 0.5, 1.0, 1.5)
ONE = torch.ones(1, 1, 1, dtype=torch.float64)
NONE = torch.zeros(1, 1, 1, dtype=torch.float64)


def mode(variance: float) -> GaussianDenoiser:
    """The denoiser of one number."""
    return GaussianDenoiser(torch.tensor([[variance]], dtype=torch.float64), (1,))


def gain(variance: float, sigma: float) -> float:
    return variance / (variance + sigma**2)


def settled(variance: float, sigma: float, settings: PriorSettings, aux: float | None = None) -> float:
    """V / S of one mode."""
    main = mode(variance)
    other = main if aux is None else mode(aux)

    def response(x0: Tensor, noise: Tensor, eps: Tensor) -> float:
        return float(langevin_step(x0, sigma, settings, main, other, noise, eps).target)

    a, n, e = response(ONE, NONE, NONE), response(NONE, ONE, NONE), response(NONE, NONE, ONE)
    return (n * n + e * e) / (1 - a * a) / variance


def with_inversion(tau: float, kind: Inversion) -> PriorSettings:
    return PriorSettings(tau=tau, inversion=kind, naive_below=0.0)


@pytest.mark.parametrize("keep", [0.0, 0.25])
def test_without_a_step_views_aim_at_what_the_denoiser_sees(keep: float) -> None:
    """D(x0 + s n), by one call a view: the limit of a small step."""
    seen: list[float] = []

    def denoiser(x: Tensor, sigma: float, view: object = None) -> Tensor:
        seen.append(sigma)
        return gain(0.3, 0.5) * x

    denoiser.sigma_data = math.sqrt(0.3)
    settings = PriorSettings(tau=0.0, keep=keep, inversion=Inversion("naive"))
    step = langevin_step(2 * ONE, 0.5, settings, denoiser, denoiser, 3 * ONE, ONE)
    assert float(step.target) == pytest.approx((1 - keep) * gain(0.3, 0.5) * 3.5 + keep * 2)
    assert len(seen) == settings.calls(0.5) == 1
    small = langevin_step(2 * ONE, 0.5, replace(settings, tau=1e-12), denoiser, denoiser, 3 * ONE, ONE)
    assert float(small.target) == pytest.approx(float(step.target), abs=1e-5)


def test_nothing_to_do_is_said() -> None:
    with pytest.raises(InvalidInputError, match="every view stays as it is; raise tau"):
        PriorSettings(tau=0.0)


@pytest.mark.parametrize(("variance", "tau"), [*product(VARIANCES, TAUS)])
def test_churns_settle_at_their_level(variance: float, tau: float) -> None:
    """The patent's inflates what is noise by 1 / (1 - tau (1 - H) / 2); the exact one has no error at any step."""
    sigma, denoiser = 0.5, mode(variance)
    h = gain(variance, sigma)
    a = float(euler_churn(ONE, denoiser(ONE, sigma), sigma, tau, NONE))
    e = float(euler_churn(NONE, denoiser(NONE, sigma), sigma, tau, ONE))
    assert e * e / (1 - a * a) == pytest.approx((variance + sigma**2) / (1 - tau * (1 - h) / 2))

    def churned(y: Tensor, eps: Tensor) -> float:
        return float(exact_churn(y, lambda z: denoiser(z, sigma), sigma, tau, eps))

    a, e = churned(ONE, NONE), churned(NONE, ONE)
    assert e * e / (1 - a * a) == pytest.approx(variance + sigma**2 * (1 - tau / 2))


@pytest.mark.parametrize(("variance", "tau"), [*product(VARIANCES, TAUS)])
def test_naive_inversion_settles_at_the_prior(variance: float, tau: float) -> None:
    h = gain(variance, 0.5)
    expected = (2 + tau * (1 - h) ** 2) / (2 - tau * h * (1 - h))
    assert settled(variance, 0.5, with_inversion(tau, Inversion("naive"))) == pytest.approx(expected)
    assert settled(variance, 0.5, with_inversion(1e-6, Inversion("naive"))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("keep", "tau"), [*product((0.0, 0.5, 1.0), TAUS)])
def test_what_is_not_explained_stays_or_goes(keep: float, tau: float) -> None:
    """Naive noise n: x' = c (x0 + s n) + sqrt(2 tau) s eps, c = 1 - tau (1 - H), so x0 <- (H c + keep (1 - H)) x0 + noise."""
    variance, sigma = 0.7, 0.5
    h = gain(variance, sigma)
    c = 1 - tau * (1 - h)
    move = h * c + keep * (1 - h)
    power = sigma**2 * ((h * c - keep * h) ** 2 + 2 * tau * h * h)
    settings = replace(with_inversion(tau, Inversion("naive")), keep=keep)
    assert settled(variance, sigma, settings) == pytest.approx(power / (1 - move * move) / variance)


@pytest.mark.parametrize(("variance", "tau"), [*product(VARIANCES, TAUS)])
def test_exact_inversion_settles_at_denoised_pictures(variance: float, tau: float) -> None:
    """Back-propagation that has converged; so has Picard, in fewer calls."""
    h = gain(variance, 0.5)
    expected = h / (1 - tau * (1 - h) / 2)
    for kind in (Inversion("descent", steps=600), Inversion("picard", steps=100, loudest=math.inf)):
        assert settled(variance, 0.5, with_inversion(tau, kind)) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("variance", VARIANCES)
def test_ode_settles_between(variance: float) -> None:
    fine = Inversion("heun", steps=400, start=1e-5)
    assert settled(variance, 0.5, with_inversion(1e-6, fine)) == pytest.approx(math.sqrt(gain(variance, 0.5)), rel=1e-3)


@pytest.mark.parametrize(("variance", "steps"), [*product(VARIANCES, (1, 5, 20))])
def test_inversions_contract_as_derived(variance: float, steps: int) -> None:
    """x_sigma = G x0 + N s n: descent N = (1 - rate H^2)^K, Picard N = (1 - gain H)^K, G = (1 - N) / H + N in both."""
    sigma, denoiser = 0.5, mode(variance)
    h = gain(variance, sigma)
    for kind, rate, n in ((Inversion("descent", steps, 0.7), 0.7, (1 - 0.7 * h * h) ** steps),
                          (Inversion("picard", steps, 0.7, loudest=math.inf), 0.7, (1 - 0.7 * h) ** steps)):
        assert kind.pace == rate
        found = [float(invert(kind, x, sigma, eps, denoiser)) for x, eps in ((ONE, NONE), (NONE, ONE))]
        assert found == pytest.approx([(1 - n) / h + n, sigma * n])


@pytest.mark.parametrize(("sigma", "expected"), [
    (0.1, (0.93, 0.99, 1.00)), (0.5, (0.31, 0.80, 1.11)), (2.0, (0.017, 0.20, 1.25))])
def test_auxiliary_denoiser_of_another_spectrum(sigma: float, expected: tuple[float, ...]) -> None:
    """V = H'^2 (S + s^2) for the exact inversion under D': harmless at small sigma only."""
    exact = with_inversion(1e-4, Inversion("picard", steps=600, loudest=math.inf))
    for aux, value in zip((0.25, 1.0, 4.0), expected, strict=True):
        assert settled(1.0, sigma, exact, aux) == pytest.approx(value, abs=0.006)
        naive = settled(1.0, sigma, with_inversion(1e-6, Inversion("naive")), aux)
        assert naive == pytest.approx(sigma**2 * gain(aux, sigma) / (1 - gain(1.0, sigma)), rel=1e-4)


def test_picard_stops_before_the_noise_becomes_a_picture() -> None:
    """Each sample by itself, whatever shares its batch."""
    torch.manual_seed(0)
    denoiser = GaussianDenoiser(ar1_covariance(8.0, 32), (32,))
    x0, noise = torch.randn(2, 6, 1, 32, dtype=torch.float64)
    x0[0] *= 4
    kind = Inversion("picard", steps=200)
    together = invert(kind, x0, 1.0, noise, denoiser)
    alone = torch.cat([invert(kind, x0[i:i + 1], 1.0, noise[i:i + 1], denoiser) for i in range(6)])
    torch.testing.assert_close(together, alone)
    assert float((together - x0).square().mean(dim=2).sqrt().max()) <= 1.15 or torch.equal(together, x0 + noise)


def ar1_autocovariance(length: float, size: int = 256) -> Tensor:
    """exp(-distance / length) on a ring, as a spectrum of mean power 1."""
    lag = torch.arange(size, dtype=torch.float64)
    power = torch.fft.fft(torch.exp(-torch.minimum(lag, size - lag) / length)).real.clamp_min(1e-6) + 1e-4
    return torch.fft.ifft(power / power.mean()).real


def ar1_covariance(length: float, width: int) -> Tensor:
    return stationary_covariance(ar1_autocovariance(length), (width,))


def power_of(autocovariance: Tensor) -> Tensor:
    return torch.fft.fft(autocovariance).real


NAIVE = PriorSettings(sweeps=128, sigma_max=5.0, sigma_min=0.02, tau=1.0, inversion=Inversion("naive"))


def annealed(denoiser: GaussianDenoiser, settings: PriorSettings, *, margin: int, share: float = 1.0,
             louder: float = 1.0) -> Tensor:
    spectrum = Spectrum.zero(256)
    for sigma in settings.sigmas(1.0):
        spectrum = sweep_covariance(spectrum, denoiser, sigma, settings, margin=margin, share=share, louder=louder)
    return spectrum.power


def test_margins_keep_the_long_waves() -> None:
    autocovariance = ar1_autocovariance(8.0)
    denoiser, truth = GaussianDenoiser(stationary_covariance(autocovariance, (32,)), (32,)), power_of(autocovariance)
    with_margin, without = (annealed(denoiser, replace(NAIVE, sweeps=256), margin=margin) for margin in (4, 0))
    assert band_powers(with_margin, truth, 32) == pytest.approx((0.928, 0.984, 1.012), abs=0.001)
    assert band_powers(without, truth, 32) == pytest.approx((0.737, 0.926, 1.041), abs=0.001)
    assert divergence(with_margin, truth) == pytest.approx(0.0001, abs=0.00005)
    assert divergence(without, truth) == pytest.approx(0.0011, abs=0.00005)


@pytest.mark.parametrize(("share", "cold", "cured"), [
    (0.5, (0.45, 0.49, 0.51), (0.89, 0.97, 1.01)), (0.25, (0.21, 0.24, 0.25), (0.84, 0.97, 1.01))])
def test_partial_updates_cool_and_louder_noise_cures(share: float, cold: tuple[float, ...], cured: tuple[float, ...]) -> None:
    autocovariance = ar1_autocovariance(8.0)
    denoiser, truth = GaussianDenoiser(stationary_covariance(autocovariance, (32,)), (32,)), power_of(autocovariance)
    slow = replace(NAIVE, sweeps=256)
    assert band_powers(annealed(denoiser, slow, margin=4, share=share), truth, 32) == pytest.approx(cold, abs=0.02)
    found = band_powers(annealed(denoiser, slow, margin=4, share=share, louder=1 / share), truth, 32)
    assert found == pytest.approx(cured, abs=0.03)
    loud = langevin_step(NONE, 0.5, NAIVE, mode(1.0), mode(1.0), NONE, ONE, share=share).target
    plain = langevin_step(NONE, 0.5, NAIVE, mode(1.0), mode(1.0), NONE, ONE).target
    assert float(loud / plain) ** 2 == pytest.approx(1 / share)


class Averaged(Canvas):
    """Overlapping crops on a fixed grid, averaged where they overlap: what Algorithm 1 must not be run with carelessly."""

    def __init__(self, values: Tensor, frame: Frame, stride: int) -> None:
        super().__init__(values, frame, batch=10**6)
        self.stride = stride

    def views(self, sweep: int):
        offset = self.frame.cells(sweep)[0][0][0]
        starts = tuple((offset + at,) for at in range(0, self.frame.size[0], self.stride))
        whole = (slice(0, self.frame.crop[0]),)
        yield Crops(self.frame, starts, (whole,) * len(starts), len(self.values))

    def update(self, view: Crops, target: Tensor) -> None:
        total, count = torch.zeros_like(self.values), torch.zeros_like(self.values)
        for i, starts in enumerate(view.starts):
            places = (starts[0] + torch.arange(self.frame.crop[0])) % self.frame.size[0]
            total[:, :, places] += target.unflatten(0, (-1, view.canvases))[i]
            count[:, :, places] += 1
        self._next = total / count


def test_averaged_overlaps_cool_unless_they_share_their_noise() -> None:
    autocovariance = ar1_autocovariance(8.0)
    denoiser, truth = GaussianDenoiser(stationary_covariance(autocovariance, (32,)), (32,)), power_of(autocovariance)
    seeds = list(range(40))

    def bands(noise: NoiseSource) -> list[float]:
        canvas = Averaged(torch.zeros(len(seeds), 1, 256, dtype=torch.float64), framed((256,), (32,), 0, (True,)), 16)
        run_prior(canvas, denoiser, NAIVE, noise)
        return band_powers(torch.fft.fft(canvas.values[:, 0]).abs().square().mean(dim=0) / 256, truth, 32)

    rng = torch.Generator().manual_seed(1)
    alone = bands(lambda _, like, __: torch.randn(like.shape, generator=rng, dtype=like.dtype))
    assert alone == pytest.approx((0.37, 0.46, 0.52), abs=0.06)
    shared = bands(CanvasNoise(seeds))
    assert shared == pytest.approx((0.737, 0.926, 1.041), abs=0.1)  # as without overlaps


def test_inpainting_has_the_conditional_mean_and_deviation() -> None:
    """Known numbers are rewritten after every sweep; the rest must be drawn from the exact conditional."""
    autocovariance, size, count = ar1_autocovariance(8.0), 256, 160
    covariance = stationary_covariance(autocovariance, (size,))
    denoiser = GaussianDenoiser(stationary_covariance(autocovariance, (32,)), (32,))
    known = torch.zeros(size, dtype=torch.bool)
    known[60:160] = True
    white = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    truth = torch.linalg.cholesky(covariance) @ white
    solved = torch.linalg.solve(covariance[known][:, known], covariance[known][:, ~known])
    mean = solved.T @ truth[known]
    deviation = (covariance[~known][:, ~known] - covariance[~known][:, known] @ solved).diagonal().sqrt()

    rng = torch.Generator().manual_seed(4)
    canvas = Canvas(torch.zeros(count, 1, size, dtype=torch.float64), framed((size,), (32,), (4,), (True,)), batch=10**6,
                    constraints=[Known(truth[None, None], known[None].double())])
    run_prior(canvas, denoiser, NAIVE, lambda _, like, __: torch.randn(like.shape, generator=rng, dtype=like.dtype))
    found = canvas.values[:, 0]
    assert torch.equal(found[:, known], truth[known].expand(count, -1))
    ratio = found[:, ~known].std(dim=0) / deviation
    assert float(ratio.mean()) == pytest.approx(0.998, abs=0.03)
    error = (found[:, ~known].mean(dim=0) - mean).square().mean().sqrt()
    assert float(error) < 0.16  # 0.105 expected, and 160 canvases have a sampling error of 0.075


def test_first_order_spectrum_of_a_canvas() -> None:
    """V = s^2 q / m of the lifted operators, as the published fixture has it."""
    autocovariance = ar1_autocovariance(24.0)
    denoiser = GaussianDenoiser(stationary_covariance(autocovariance, (32,)), (32,))
    small = with_inversion(1e-6, Inversion("naive"))
    move, noise = crop_operators(denoiser, 0.02, small)

    def lifted(matrix: Tensor) -> Tensor:
        full = torch.zeros(256, 256, dtype=torch.float64)
        full[:32, :32] = matrix
        return Spectrum.of(full).power

    spectrum = lifted(noise) / (-2 * lifted(move))
    assert band_powers(spectrum, power_of(autocovariance), 32)[0] == pytest.approx(0.53, abs=0.01)


def test_independent_noise_is_a_stream_per_sample() -> None:
    noise = IndependentNoise([1, 2])
    like = torch.zeros(2, 1, 100_000)
    drawn = noise(0, like, like)
    assert float(drawn.std()) == pytest.approx(1, abs=0.01)
    assert float((drawn[0] * drawn[1]).mean()) == pytest.approx(0, abs=0.02)
