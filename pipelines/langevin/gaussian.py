"""The denoiser of a Gaussian prior, exact: for tests whose answers are known, and as a prior of textures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from ..errors import InvalidInputError
from .denoiser import View

LARGEST = 4096
FLOOR = 1e-6


class GaussianDenoiser:
    """D(x; sigma) = mean + U S / (S + sigma^2) U^T (x - mean), for crops whose channels are independent.

    covariance: [n,n] that all channels share or [C,n,n], n the pixels of a crop. shape: of a crop, its product n. mean: per
    channel [C], 0 by default. basis: orthonormal [C,C] whose rows are the independent channels; the channels by default.
    """

    exact = True

    def __init__(self, covariance: Tensor, shape: Sequence[int], *, mean: Tensor | None = None,
                 basis: Tensor | None = None) -> None:
        if covariance.shape[-1] != math.prod(shape):
            raise InvalidInputError(f"A covariance of {covariance.shape[-1]} pixels does not fit crops of {list(shape)}.")
        self.shape, self.mean, self.basis = tuple(shape), mean, basis
        values, modes = eigen(covariance if covariance.ndim == 3 else covariance[None])
        self.modes = modes
        self.variances = values.clamp_min(FLOOR * float(values.max()))

    @property
    def sigma_data(self) -> float:
        return math.sqrt(float(self.variances.mean()))

    def _apply(self, x: Tensor, gain: Tensor) -> Tensor:
        """Multiply every mode of x [N,C,*shape] with a gain [C or 1,n]."""
        flat = x.flatten(2).to(self.modes)
        if self.mean is not None:
            flat = flat - self.mean.to(flat)[:, None]
        if self.basis is not None:
            flat = torch.einsum("ij,njp->nip", self.basis.to(flat), flat)
        flat = torch.einsum("ncp,cpk->nck", flat, self.modes.expand(flat.shape[1], -1, -1)) * gain
        flat = torch.einsum("nck,cpk->ncp", flat, self.modes.expand(flat.shape[1], -1, -1))
        if self.basis is not None:
            flat = torch.einsum("ij,nip->njp", self.basis.to(flat), flat)
        if self.mean is not None:
            flat = flat + self.mean.to(flat)[:, None]
        return flat.reshape(x.shape).to(x)

    def __call__(self, x: Tensor, sigma: float, view: View | None = None) -> Tensor:
        return self._apply(x, self.variances / (self.variances + sigma**2))

    def inverted(self, x0: Tensor, sigma: float) -> Tensor:
        """The x with D(x; sigma) = x0, in closed form: x0 - sigma^2 grad log p(x0)."""
        return self._apply(x0, 1 + sigma**2 / self.variances)


def eigen(symmetric: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, ascending, and eigenvectors in columns."""
    return cast("tuple[Tensor, Tensor]", torch.linalg.eigh(symmetric))


def stationary_covariance(autocovariance: Tensor, crop: Sequence[int]) -> Tensor:
    """Covariance [n,n] of a crop of a periodic stationary field. autocovariance: [*size], lag 0 first; the crop is at most
    as large."""
    index = torch.meshgrid(*(torch.arange(c) for c in crop), indexing="ij")
    places = [i.reshape(-1) for i in index]
    lags = [(p[:, None] - p[None]) % s for p, s in zip(places, autocovariance.shape, strict=True)]
    return autocovariance[tuple(lags)]


def texture_denoiser(sample: Tensor, crop: Sequence[int]) -> GaussianDenoiser:
    """The Gaussian prior with the colours and the autocovariance of one sample, float [C,*size]: a picture, a film (frames
    first), a sound. It knows textures, not things.

    Channels are made independent by their covariance; the autocovariance of each is the sample's own, tapered so that it
    stays a covariance. Raises InvalidInputError for a crop of over 4096 numbers, or one larger than the sample.
    """
    if math.prod(crop) > LARGEST:
        raise InvalidInputError(f"A texture prior sees at most {LARGEST} pixels at once, got a crop of {list(crop)}.")
    size = list(sample.shape[1:])
    if len(crop) != len(size) or any(c > s for c, s in zip(crop, size, strict=True)):
        raise InvalidInputError(f"A sample of {size} is smaller than the crop of {list(crop)}; give a larger one.")
    sample = sample.double()
    axes = tuple(range(1, sample.ndim))
    mean = sample.mean(dim=axes)
    flat = sample.flatten(1) - mean[:, None]
    basis = eigen(flat @ flat.T / flat.shape[1])[1].T
    rotated = (basis @ flat).reshape(sample.shape)
    padded = [s + c for s, c in zip(size, crop, strict=True)]
    spectrum = cast(Tensor, torch.fft.fftn(rotated, padded, axes))  # pyright: ignore[reportUnknownMemberType]
    pairs = cast(Tensor, torch.fft.ifftn(spectrum.abs().square(), dim=axes)).real  # pyright: ignore[reportUnknownMemberType]
    covariance = torch.stack([stationary_covariance(channel / math.prod(size), crop) for channel in pairs])
    return GaussianDenoiser(covariance.float(), crop, mean=mean.float(), basis=basis.float())
