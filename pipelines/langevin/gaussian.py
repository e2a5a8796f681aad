"""The denoiser of a Gaussian prior, exact: for tests whose answers are known, and as a prior of textures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InvalidInputError
from .denoiser import View

LARGEST = 4096
FLOOR = 1e-6


class GaussianDenoiser:
    """D(x; sigma) = mean + U S / (S + sigma^2) U^T (x - mean), for crops whose channels are independent.

    covariance: [n,n] that all channels share or [C,n,n], n the pixels of a crop. shape: of a crop, its product n. mean: per
    channel [C], 0 by default. basis: orthonormal [C,C] whose rows are the independent channels; the channels by default.
    """

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


def texture_denoiser(picture: Tensor, crop: Sequence[int]) -> GaussianDenoiser:
    """The Gaussian prior with the colours and the autocovariance of one picture, float [C,H,W]: a prior of its texture.

    Colours are made independent by their covariance; the autocovariance of each is the picture's own, of pairs inside the
    picture, tapered so that it stays a covariance. Raises InvalidInputError for a crop of over 4096 pixels, or one larger than
    the picture.
    """
    if math.prod(crop) > LARGEST:
        raise InvalidInputError(f"A texture prior sees at most {LARGEST} pixels at once, got a crop of {list(crop)}.")
    if any(c > s for c, s in zip(crop, picture.shape[1:], strict=True)):
        raise InvalidInputError(f"The picture of {picture.shape[2]}x{picture.shape[1]} pixels is smaller than the crop of "
                                f"{crop[1]}x{crop[0]}; give a larger one.")
    picture = picture.double()
    mean = picture.mean(dim=(1, 2))
    centred = picture - mean[:, None, None]
    flat = centred.flatten(1)
    basis = eigen(flat @ flat.T / flat.shape[1])[1].T
    rotated = torch.einsum("ij,jhw->ihw", basis, centred)
    size = [s + c for s, c in zip(picture.shape[1:], crop, strict=True)]
    padded = F.pad(rotated, (0, size[1] - picture.shape[2], 0, size[0] - picture.shape[1]))
    spectrum = cast(Tensor, torch.fft.fft2(padded))  # pyright: ignore[reportUnknownMemberType]
    pairs = cast(Tensor, torch.fft.ifft2(spectrum.abs().square()))
    found = pairs.real / math.prod(picture.shape[1:])  # over all pixels: tapered by a triangle
    covariance = torch.stack([stationary_covariance(channel, crop) for channel in found])
    return GaussianDenoiser(covariance.float(), crop, mean=mean.float(), basis=basis.float())
