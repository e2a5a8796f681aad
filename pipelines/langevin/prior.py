"""Algorithm 1 of US 2025/0259277: a denoiser nudges a representation until what it shows is drawn from the denoiser's prior.

A step renders a view x0, inverts it to a noisy x_sigma, churns that with the main denoiser D,

    x' = x_sigma + tau (D(x_sigma; sigma) - x_sigma) + sqrt(2 tau) sigma eps,

and moves the representation so that the view nears  D'(x'; sigma) + x0 - D'(x_sigma; sigma)  with the auxiliary denoiser D'.
sigma falls from sweep to sweep.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from ..errors import InvalidInputError
from ..steps import OnStep, StepInfo, ignore
from .denoiser import Denoiser, Guided, View, levels_known
from .inversion import Inversion, invert, levels
from .noise import NoiseSource
from .seeds import mixed

Schedule = Literal["geometric", "edm", "random", "constant"]
Churn = Literal["euler", "exact"]
SMALLEST_SHARE = 0.02
LARGEST_TAU = 4.0


@dataclass(frozen=True)
class PriorSettings:
    """How a prior nudges.

    sweeps: times that every part of the representation is nudged. sigma_max, sigma_min: first and last noise level in units of
    the denoiser's sigma_data. schedule: how the level falls; 'random' draws it log-uniformly below a falling bound, 'constant'
    stays at sigma_max. tau: step of the Langevin equation, 0 to 4; with 0, and a keep below 1, views aim at D(x_sigma), by one
    call. churn: 'euler' as the patent prints it, 'exact' keeps the noise level to all orders at the cost of one more call.
    inversion: see there. naive_below: levels, in units of sigma_data, at and below which naive noise inverts. repeats: sweeps
    at each level. keep: share of what the inversion does not explain, x0 - D'(x_sigma), that stays in the target: 1 is the
    patent's, and right where a view can become anything; 0 aims at D'(x') itself, which clears away what a representation
    shows but no picture of the prior would. Raises InvalidInputError.
    """

    sweeps: int = 128
    sigma_max: float = 10.0
    sigma_min: float = 0.05
    schedule: Schedule = "geometric"
    tau: float = 0.5
    churn: Churn = "euler"
    inversion: Inversion = field(default_factory=Inversion)
    naive_below: float = 0.2
    repeats: int = 1
    keep: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.keep <= 1:
            raise InvalidInputError(f"A share from 0 to 1 of what an inversion does not explain is kept, got {self.keep:g}.")
        if self.sweeps < 1 or self.repeats < 1:
            raise InvalidInputError(f"A prior makes at least one sweep, got {self.sweeps} with {self.repeats} repeats.")
        if not 0 < self.sigma_min <= self.sigma_max:
            raise InvalidInputError(f"The noise of a prior falls from sigma_max to sigma_min > 0, got {self.sigma_max} and "
                                    f"{self.sigma_min}.")
        if self.tau == 0 and self.keep == 1:
            raise InvalidInputError("With a step tau of 0 and a share of 1 that is kept, every view stays as it is; raise tau.")
        if not 0 <= self.tau <= (LARGEST_TAU if self.churn == "euler" else 1.9):
            raise InvalidInputError(f"The step tau lies between 0 and {LARGEST_TAU:g}, below 2 with the exact churn, got "
                                    f"{self.tau}.")

    def inversion_at(self, level: float) -> Inversion:
        """How views are inverted at a noise level in units of sigma_data."""
        return self.inversion if level > self.naive_below else Inversion("naive")

    def calls(self, level: float, *, same: bool = True) -> int:
        """Samples denoised per view and step at a noise level in units of sigma_data. same: the auxiliary denoiser is the main
        one."""
        steps = 1 if self.tau == 0 else 2 if same and self.churn == "euler" else 3
        return self.inversion_at(level).calls + steps

    def sigmas(self, sigma_data: float, seed: int = 0, *, bounds: tuple[float, float] = (0.0, math.inf)) -> list[float]:
        """The noise level of every sweep, in the units of the data. bounds: lowest and highest level there is."""
        low = min(max(self.sigma_min * sigma_data, bounds[0]), bounds[1])
        high, count = max(low, min(self.sigma_max * sigma_data, bounds[1])), -(-self.sweeps // self.repeats)
        if self.schedule == "constant" or count == 1:
            found = [high] * count
        elif self.schedule == "edm":
            found = levels(low, high, count - 1)[::-1]
        else:
            found = [high * (low / high) ** (i / (count - 1)) for i in range(count)]
        if self.schedule == "random":
            found = [low * (bound / low) ** (mixed(seed, i) / 2**64) for i, bound in enumerate(found)]
        return [sigma for sigma in found for _ in range(self.repeats)][:self.sweeps]


class Representation(Protocol):
    """Anything that can be shown and moved: a canvas, the weights of a radiance field. share: of the way to a target, how much
    an update goes; 1 where a target is reached."""

    @property
    def share(self) -> float: ...

    def views(self, sweep: int) -> Iterable[Any]:
        """What a sweep looks at, a batch of N samples at a time."""
        ...

    def render(self, view: Any) -> Tensor:
        """What a view shows, float [N,C,...]; no gradients."""
        ...

    def update(self, view: Any, target: Tensor) -> None:
        """Move so that the view nears the target."""
        ...

    def finish(self) -> float:
        """The end of a sweep; returns the root mean square of what it changed."""
        ...

    def preview(self) -> Tensor:
        """A picture of the whole, float [B,C,...]."""
        ...


@dataclass(frozen=True, eq=False)
class Step:
    """One step for a batch of views. x_sigma, x_prime: before and after the churn; target: where the view should be."""

    x_sigma: Tensor
    x_prime: Tensor
    target: Tensor


def euler_churn(x: Tensor, denoised: Tensor, sigma: float, tau: float, eps: Tensor) -> Tensor:
    """A step of Langevin's equation at constant noise level, table 1 (the score is (D(x) - x) / sigma^2)."""
    return x + tau * (denoised - x) + math.sqrt(2 * tau) * sigma * eps


def exact_churn(y: Tensor, denoise: Callable[[Tensor], Tensor], sigma: float, tau: float, eps: Tensor) -> Tensor:
    """The same with the drift taken at y plus a part of the noise (Leimkuhler and Matthews). y is held at the level
    sigma sqrt(1 - tau / 2) and stays there exactly for every linear denoiser; where the drift is taken the level is sigma."""
    z = y + math.sqrt(tau / 2) * sigma * eps
    return y + tau * (denoise(z) - z) + math.sqrt(2 * tau) * sigma * eps


def langevin_step(x0: Tensor, sigma: float, settings: PriorSettings, main: Denoiser, aux: Denoiser, noise: Tensor, eps: Tensor,
                  view: View | None = None, share: float = 1.0) -> Step:
    """One step of Algorithm 1 for views x0 [N,C,...]. noise, eps: standard normal, of the inversion and of the churn. share: of
    the way to the target that the representation goes; the churn's noise is raised by 1 / sqrt(share) to keep the temperature.
    """
    eps = eps / math.sqrt(max(share, SMALLEST_SHARE))
    kind = settings.inversion_at(sigma / main.sigma_data)

    def denoise_aux(x: Tensor, level: float) -> Tensor:
        return aux(x, level, view)

    if settings.tau == 0:
        x = invert(kind, x0, sigma, noise, denoise_aux, sigma_data=main.sigma_data)
        return Step(x, x, torch.lerp(main(x, sigma, view), x0, settings.keep))
    if settings.churn == "exact":
        level = sigma * math.sqrt(1 - settings.tau / 2)
        x = invert(kind, x0, level, noise, denoise_aux, sigma_data=main.sigma_data)
        x_prime = exact_churn(x, lambda z: main(z, sigma, view), sigma, settings.tau, eps)
        return Step(x, x_prime, aux(x_prime, level, view) + settings.keep * (x0 - aux(x, level, view)))
    x = invert(kind, x0, sigma, noise, denoise_aux, sigma_data=main.sigma_data)
    by_main, by_aux = both(main, aux, x, sigma, view)
    x_prime = euler_churn(x, by_main, sigma, settings.tau, eps)
    return Step(x, x_prime, aux(x_prime, sigma, view) + settings.keep * (x0 - by_aux))


def both(main: Denoiser, aux: Denoiser, x: Tensor, sigma: float, view: View | None) -> tuple[Tensor, Tensor]:
    """main and aux at the same x; what guidance computes anyhow is not computed twice."""
    if aux is main:
        found = main(x, sigma, view)
        return found, found
    if isinstance(main, Guided) and aux is main.unconditional:
        plain = aux(x, sigma, view)
        return torch.lerp(plain, main.conditional(x, sigma, view), main.scale), plain
    return main(x, sigma, view), aux(x, sigma, view)


@dataclass(frozen=True)
class Sweep:
    """What a sweep was. noise: deviation of (x_sigma - x0) / sigma, 1 for a perfect inversion. whiteness: correlation of
    neighbours in it, 0 for noise, towards 1 for a picture. change: rms of what the sweep changed. calls: samples denoised."""

    sigma: float
    noise: float
    whiteness: float
    change: float
    calls: int


def run_prior(representation: Representation, main: Denoiser, settings: PriorSettings, noise: NoiseSource, *,
              aux: Denoiser | None = None, sigmas: Sequence[float] | None = None, first: int = 0,
              on_step: OnStep = ignore) -> list[Sweep]:
    """Sweep after sweep of Algorithm 1; the representation is moved, and what happened is returned.

    aux: D', the main denoiser by default. sigmas: levels of the sweeps, those of the settings by default. first: sweeps that
    were made before, to go on with. on_step is told once per sweep; what it raises ends the run with every finished sweep
    in place.
    """
    schedule = list(settings.sigmas(main.sigma_data, bounds=levels_known(main)) if sigmas is None else sigmas)
    aux = main if aux is None else aux
    sweeps: list[Sweep] = []
    for index, sigma in enumerate(schedule[first:], start=first):
        seen = 0
        loud: list[float] = []
        white: list[float] = []
        for view in representation.views(index):
            with torch.no_grad():
                x0 = representation.render(view)
                step = langevin_step(x0, sigma, settings, main, aux, noise(2 * index, x0, view), noise(2 * index + 1, x0, view),
                                     view, representation.share)
            held = (step.x_sigma - x0) / sigma
            loud.append(float(held.std()))
            white.append(_neighbours(held))
            seen += len(x0)
            representation.update(view, step.target)
        calls = seen * settings.calls(sigma / main.sigma_data, same=aux is main)
        sweeps.append(Sweep(sigma, _mean(loud), _mean(white), representation.finish(), calls))
        on_step(StepInfo(index + 1, len(schedule), {"sigma": sigma, "change": sweeps[-1].change, "noise": sweeps[-1].noise},
                         representation.preview))
    return sweeps


def _neighbours(x: Tensor) -> float:
    """Correlation of neighbours along the last axis."""
    if x.shape[-1] < 2:
        return 0.0
    x = x - x.mean()
    return float((x[..., 1:] * x[..., :-1]).mean() / x.square().mean().clamp_min(1e-20))


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))
