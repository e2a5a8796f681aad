"""What a prior is to the engine: D(x; sigma), the mean of the clean data given x = data + sigma * noise.

Everything here lives in variance-exploding coordinates: x has deviation sqrt(sigma_data^2 + sigma^2), whatever coordinates a
network was trained in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..errors import InvalidInputError
from ..lanes import Lanes


class View(Protocol):
    """Which part of a representation a batch x shows. What reads it knows its kind: `canvas.Crops`, cameras."""

    def __len__(self) -> int: ...


class Denoiser(Protocol):
    """sigma_data: deviation of the clean data."""

    @property
    def sigma_data(self) -> float: ...

    def __call__(self, x: Tensor, sigma: float, view: View | None = None) -> Tensor:
        """x [N,C,...] float at noise level sigma > 0 -> the mean of the clean data, of its shape and type. view: what the N
        samples show, for denoisers that ask where they are."""
        ...


class Preconditioned(Protocol):
    """A network with its preconditioning, as EDM's: sigma float [N], labels float [N,label_dim] or None."""

    sigma_data: float

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor: ...


Label = Callable[[int, "View | None"], Tensor]
"""Condition of a batch: number of samples and what they show -> labels float [N,label_dim]."""


def constant(label: Tensor) -> Label:
    """The same label [label_dim] for every sample."""
    return lambda count, _: label.expand(count, -1)


WORTH_A_LANE = 8
"""Samples; with fewer, all cores on one call after the other are as fast or faster."""


class NetworkDenoiser:
    """A network as a denoiser, in batches of bounded size, whose numbers do not depend on the batch.

    label: condition, None for none. batch: samples that go through the network at once; on a CPU, without gradients, in
    `lanes` calls side by side where each has enough of them. dtype: torch.bfloat16 runs its convolutions in that precision.
    """

    def __init__(self, network: nn.Module, *, sigma_data: float, label: Label | None = None, batch: int = 32,
                 dtype: torch.dtype = torch.float32, lanes: int = 2) -> None:
        self.network, self.sigma_data, self.label, self.batch, self.dtype = network, sigma_data, label, batch, dtype
        self.lanes = lanes

    def __call__(self, x: Tensor, sigma: float, view: View | None = None) -> Tensor:
        labels = None if self.label is None else self.label(len(x), view).to(x)
        step = -(-len(x) // (self.lanes * -(-len(x) // self.batch)))
        together = (self.lanes > 1 and step >= WORTH_A_LANE and x.device.type == "cpu" and not torch.is_grad_enabled()
                    and torch.get_num_threads() > 1)
        step = step if together else self.batch

        def part(start: int) -> Tensor:
            some = slice(start, start + step)
            level = x.new_full((len(x[some]),), sigma)
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16):
                return self.network(x[some], level, None if labels is None else labels[some]).to(x.dtype)

        starts = range(0, len(x), step)
        return torch.cat(self._side_by_side.map(part, starts) if together else [part(start) for start in starts])

    @cached_property
    def _side_by_side(self) -> Lanes:
        return Lanes(self.lanes)


class Guided:
    """Classifier-free guidance: unconditional + scale * (conditional - unconditional). A scale of 1 calls one of them."""

    def __init__(self, conditional: Denoiser, unconditional: Denoiser, scale: float) -> None:
        self.conditional, self.unconditional, self.scale = conditional, unconditional, scale

    @property
    def sigma_data(self) -> float:
        return self.conditional.sigma_data

    def __call__(self, x: Tensor, sigma: float, view: View | None = None) -> Tensor:
        wanted = self.conditional(x, sigma, view)
        if self.scale == 1:
            return wanted
        plain = self.unconditional(x, sigma, view)
        return torch.lerp(plain, wanted, self.scale)


@runtime_checkable
class Cropped(View, Protocol):
    """A view of crops of a canvas."""

    def crop(self, field: Tensor) -> Tensor:
        """field [C,*canvas] -> [N,C,*crop]."""
        ...

    def only(self, there: Tensor) -> View:
        """The samples where a mask bool [N] is true, which is the same for all samples of a crop."""
        ...


@dataclass(frozen=True, eq=False)
class Region:
    """A denoiser for a part of the canvas. weight: float [1,*canvas], 0 or more."""

    denoiser: Denoiser
    weight: Tensor


class Regions:
    """Several denoisers on one canvas: D = sum of weight_i D_i over the sum of weights, pixel by pixel. Where no region has
    weight the background decides; a denoiser without weight in a crop is not asked for it."""

    def __init__(self, background: Denoiser, regions: Sequence[Region]) -> None:
        if any(bool((region.weight < 0).any()) for region in regions):
            raise InvalidInputError("The masks of region prompts hold negative weights; give values from 0 to 1.")
        self.background, self.regions = background, regions
        self._rest = torch.clamp(1 - torch.stack([r.weight for r in regions]).sum(dim=0), min=0) if regions else None

    @property
    def sigma_data(self) -> float:
        return self.background.sigma_data

    def __call__(self, x: Tensor, sigma: float, view: View | None = None) -> Tensor:
        if self._rest is None:
            return self.background(x, sigma, view)
        if not isinstance(view, Cropped):
            raise InvalidInputError("Region prompts need crops of a canvas; use them with the panorama and image nodes.")
        total, mixed = torch.zeros_like(x[:, :1]), torch.zeros_like(x)
        for denoiser, field in ((self.background, self._rest), *((r.denoiser, r.weight) for r in self.regions)):
            weight = view.crop(field.to(x))
            there = weight.flatten(1).amax(dim=1) > 0
            if bool(there.any()):
                mixed[there] += weight[there] * denoiser(x[there], sigma, view.only(there))
                total += weight
        return mixed / total


@runtime_checkable
class Bounded(Protocol):
    """A denoiser that knows the levels of noise from sigma_min to sigma_max."""

    sigma_min: float
    sigma_max: float


def levels_known(denoiser: Denoiser) -> tuple[float, float]:
    """The lowest and the highest level that a denoiser should be asked for; of regions, what their background knows."""
    if isinstance(denoiser, Regions):
        denoiser = denoiser.background
    if isinstance(denoiser, Bounded):
        return denoiser.sigma_min, denoiser.sigma_max
    return 0.0, math.inf


@runtime_checkable
class Exact(Protocol):
    """A denoiser that may be the exact one of a prior. Its crops then agree at every level of noise, where those of a network
    drift apart at high levels."""

    exact: bool


def is_exact(denoiser: Denoiser) -> bool:
    """Whether it is; of regions, whether all of them are."""
    if isinstance(denoiser, Regions):
        return all(is_exact(part) for part in (denoiser.background, *(region.denoiser for region in denoiser.regions)))
    return isinstance(denoiser, Exact) and denoiser.exact
