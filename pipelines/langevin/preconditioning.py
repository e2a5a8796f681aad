"""From a U-Net to a denoiser D(x; sigma): the preconditionings of EDM (Karras et al. 2022, table 1), each with the levels of
noise it was made for. All take and give variance-exploding coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InvalidInputError
from .edm_network import DhariwalUNet, SongUNet, UNetShape
from .lapped import lapped, unlapped
from .position import Labels

Network = SongUNet | DhariwalUNet
Coefficients = tuple[Tensor | float, Tensor | float, Tensor | float, Tensor]
"""c_skip, c_out, c_in, c_noise."""


class NetworkPrior(nn.Module):
    """D = c_skip x + c_out F(c_in x; c_noise).

    sigma_data: deviation of the data. sigma_min, sigma_max: levels it knows. labels: what they mean. sample_rate: of sound,
    where known.
    """

    kind = ""
    doubled = False
    """Whether the network has twice the channels of the data, the second half unused."""

    def __init__(self, model: Network, *, sigma_data: float = 0.5, sigma_min: float = 0.0,
                 sigma_max: float = math.inf) -> None:
        super().__init__()
        self.model, self.sigma_data, self.sigma_min, self.sigma_max = model, sigma_data, sigma_min, sigma_max
        self.labels = Labels(tuple(str(i) for i in range(self.label_dim)))
        self.sample_rate: int | None = None

    def coefficients(self, sigma: Tensor) -> Coefficients:
        """Of levels [N]."""
        raise NotImplementedError

    def round_sigma(self, sigma: Tensor) -> Tensor:
        """The nearest level that the network knows."""
        return sigma

    @property
    def channels(self) -> int:
        """Of the data."""
        return self.model.shape.inputs

    @property
    def label_dim(self) -> int:
        """Length of a label, 0 for none."""
        return self.model.shape.labels

    @property
    def dims(self) -> int:
        """Axes of the data: 1 for sound, 2 for pictures."""
        return self.model.shape.dims

    @property
    def resolution(self) -> int:
        """Side of the crops it was trained on."""
        return self.model.shape.resolution

    @property
    def multiple(self) -> int:
        """Sides of any crop are multiples of it."""
        return self.model.shape.multiple

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, augment_labels: Tensor | None = None) -> Tensor:
        """x [N,C,*size], sigma [N] or a single number > 0, labels [N,label_dim]; without labels they are zeros. -> float32."""
        x = x.to(torch.float32)
        sigma = sigma.to(torch.float32).reshape(-1).expand(len(x))
        if not self.label_dim:
            labels = None
        else:
            labels = x.new_zeros(len(x), self.label_dim) if labels is None else labels.to(torch.float32)
        c_skip, c_out, c_in, c_noise = (self._wide(c, x) for c in self.coefficients(sigma))
        found = self.model(c_in * x, c_noise.flatten(), labels, augment_labels)[:, :self.channels]
        return c_skip * x + c_out * found.to(torch.float32)

    @staticmethod
    def _wide(value: Tensor | float, x: Tensor) -> Tensor:
        return (value if isinstance(value, Tensor) else x.new_full((len(x),), value)).reshape(-1, *[1] * (x.ndim - 1))


class EDMPrior(NetworkPrior):
    """Karras et al. 2022."""

    kind = "edm"

    def coefficients(self, sigma: Tensor) -> Coefficients:
        total = (sigma.square() + self.sigma_data**2).sqrt()
        return self.sigma_data**2 / total.square(), sigma * self.sigma_data / total, 1 / total, sigma.log() / 4


class LappedPrior(EDMPrior):
    """Of sound, in the bins of a lapped transform: the preconditioning of EDM with a deviation of the data for each bin, which
    by itself is Wiener's filter. The network works along the frames, with the bins as its channels.

    deviations: float [C,block], of the data; sigma_data is their root mean square.
    """

    kind = "lapped"
    deviations: Tensor

    def __init__(self, model: Network, *, sigma_data: float = 0.5, channels: int = 1) -> None:
        super().__init__(model, sigma_data=sigma_data)
        if model.shape.dims != 1 or model.shape.patch != 1 or model.shape.inputs % channels:
            raise InvalidInputError(f"A denoiser in the bins of a lapped transform works along 1 axis, without patches, on a "
                                    f"multiple of the {channels} channels of the sound; got {model.shape.dims} axes, patches "
                                    f"of {model.shape.patch} and {model.shape.inputs} channels.")
        self.register_buffer("deviations", torch.full((channels, model.shape.inputs // channels), sigma_data))

    @property
    def block(self) -> int:
        """Samples from one frame to the next, and bins of a frame."""
        return self.deviations.shape[1]

    @property
    def channels(self) -> int:
        return self.deviations.shape[0]

    @property
    def resolution(self) -> int:
        return self.model.shape.resolution * self.block

    @property
    def multiple(self) -> int:
        return self.model.shape.multiple * self.block

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, augment_labels: Tensor | None = None) -> Tensor:
        bins = lapped(x.to(torch.float32), self.block)
        sigma = sigma.to(torch.float32).reshape(-1).expand(len(x))
        deviations, wide = self.deviations.reshape(1, -1, 1), sigma.reshape(-1, 1, 1)
        total = deviations.square() + wide.square()
        labels = None if not self.label_dim else x.new_zeros(len(x), self.label_dim) if labels is None else labels.float()
        found = self.model(bins * total.rsqrt(), sigma.log() / 4, labels, augment_labels)
        clean = deviations.square() / total * bins + wide * deviations * total.rsqrt() * found.to(torch.float32)
        return unlapped(clean, self.block)


class VPPrior(NetworkPrior):
    """Variance preserving (Song et al. 2021): a linear schedule beta_min + beta_d t over t from 1e-5 to 1."""

    kind = "vp"
    beta_d, beta_min, timesteps = 19.9, 0.1, 1000

    def __init__(self, model: Network, *, sigma_data: float = 0.5) -> None:
        times = torch.tensor([1e-5, 1.0], device="cpu")
        ends = ((0.5 * self.beta_d * times.square() + self.beta_min * times).exp() - 1).sqrt()  # in float32, as published
        super().__init__(model, sigma_data=sigma_data, sigma_min=float(ends[0]), sigma_max=float(ends[1]))

    def coefficients(self, sigma: Tensor) -> Coefficients:
        log = (1 + sigma.square()).log()
        time = ((self.beta_min**2 + 2 * self.beta_d * log).sqrt() - self.beta_min) / self.beta_d
        return 1.0, -sigma, 1 / (sigma.square() + 1).sqrt(), (self.timesteps - 1) * time


class VEPrior(NetworkPrior):
    """Variance exploding (Song et al. 2021)."""

    kind = "ve"

    def __init__(self, model: Network, *, sigma_data: float = 0.5) -> None:
        super().__init__(model, sigma_data=sigma_data, sigma_min=0.02, sigma_max=100.0)

    def coefficients(self, sigma: Tensor) -> Coefficients:
        return 1.0, sigma, 1.0, (0.5 * sigma).log()


class IDDPMPrior(NetworkPrior):
    """Improved DDPM (Nichol and Dhariwal 2021): it knows 1000 levels, the buffer u [1001], and rounds to them."""

    kind = "iddpm"
    doubled = True
    u: Tensor

    def __init__(self, model: Network, *, sigma_data: float = 0.5, timesteps: int = 1000) -> None:
        super().__init__(model, sigma_data=sigma_data)
        self.timesteps = timesteps
        levels = cosine_levels(timesteps)
        self.register_buffer("u", levels)
        self.sigma_min, self.sigma_max = float(levels[-2]), float(levels[0])

    def coefficients(self, sigma: Tensor) -> Coefficients:
        return 1.0, -sigma, 1 / (sigma.square() + 1).sqrt(), (self.timesteps - 1 - self._nearest(sigma)).float()

    def round_sigma(self, sigma: Tensor) -> Tensor:
        return self.u[self._nearest(sigma.float())].to(sigma)

    def _nearest(self, sigma: Tensor) -> Tensor:
        return (sigma.to(self.u).reshape(-1, 1) - self.u).abs().argmin(dim=1).reshape(sigma.shape)


def cosine_levels(timesteps: int) -> Tensor:
    """The levels of noise of the cosine schedule, from the highest down to 0, float32 [timesteps+1]; ratios are clipped at both
    of its ends. In float32 from step to step, as the official files were made."""
    steps = torch.arange(timesteps + 1, device="cpu")
    kept = (0.5 * math.pi * steps / timesteps / 1.008).sin().square()
    levels = torch.zeros(timesteps + 1, device="cpu")
    for j in range(timesteps, 0, -1):
        levels[j - 1] = ((levels[j].square() + 1) / (kept[j - 1] / kept[j]).clamp(min=0.001) - 1).sqrt()
    return levels


PRECONDITIONINGS: dict[str, type[NetworkPrior]] = {kind.kind: kind for kind in (EDMPrior, LappedPrior, VPPrior, VEPrior,
                                                                              IDDPMPrior)}


def build_prior(*, network: str, preconditioning: str, resolution: int, channels: int, sigma_data: float = 0.5,
                classes: Sequence[str] = (), position_features: int = 0, poses: bool = False, sample_rate: int | None = None,
                block: int = 0, embedding: str = "positional", noise_multiplier: int = 1, encoder: str = "standard",
                decoder: str = "standard", taps: Sequence[int] = (1, 1), **shape: Any) -> NetworkPrior:
    """An untrained denoiser. network: 'song' or 'adm'. preconditioning: a key of PRECONDITIONINGS. shape: the other fields of
    `UNetShape`. classes, position_features, poses: what its labels mean; without any, classes are called '0', '1', ... block:
    of the lapped transform, with that preconditioning."""
    kind = PRECONDITIONINGS[preconditioning]
    bins = block if kind is LappedPrior else 1
    hyper = UNetShape(resolution // bins, channels * bins, channels * bins * (2 if kind.doubled else 1), **shape)
    model = DhariwalUNet(hyper) if network == "adm" else SongUNet(
        hyper, embedding=embedding, noise_multiplier=noise_multiplier, encoder=encoder, decoder=decoder, taps=taps)
    prior = (LappedPrior(model, sigma_data=sigma_data, channels=channels) if kind is LappedPrior
              else kind(model, sigma_data=sigma_data))
    if classes or position_features or poses:
        prior.labels = Labels(tuple(classes), position_features, poses)
    prior.sample_rate = sample_rate
    return prior
