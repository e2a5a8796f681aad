"""UNIT's networks (Liu, Breuel, Kautz 2017; US 2018/0247201) in the form of the current release: one VAE-GAN per domain, whose
latent spaces are tied by the losses alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..image_blocks import ConvBlock, ResidualBlocks, Stages, UpBlock


class VaeGan(nn.Module):
    """The encoder and decoder of one domain.

    width: channels of the first layer, 64 in the published networks. n_downs: halvings. n_res: residual blocks of either.
    pad: 'reflect' or 'zero'. The latent is the encoder's output, a mean; its deviation is 1.
    """

    def __init__(self, *, width: int = 64, n_downs: int = 2, n_res: int = 4, channels: int = 3, activation: str = "relu",
                 pad: str = "reflect") -> None:
        super().__init__()
        self.factor = 2**n_downs
        stages: list[nn.Module] = [ConvBlock(channels, width, 7, 1, 3, norm="in", activation=activation, pad=pad)]
        stages += [ConvBlock(width << i, width << (i + 1), 4, 2, 1, norm="in", activation=activation, pad=pad)
                   for i in range(n_downs)]
        latent = width << n_downs
        self.enc = Stages(*stages, ResidualBlocks(n_res, latent, activation=activation, pad=pad))
        stages = [ResidualBlocks(n_res, latent, activation=activation, pad=pad)]
        for i in range(n_downs):  # every other place was a layer without parameters
            stages += [nn.Identity(), UpBlock(latent >> i, norm="ln", activation=activation, pad=pad)]
        self.dec = Stages(*stages, ConvBlock(width, channels, 7, 1, 3, activation="tanh", pad=pad))

    def encode(self, images: Tensor) -> Tensor:
        """images float32 [B,3,H,W] in -1..1 -> the mean of their latents [B,C,H/4,W/4]."""
        return self.enc(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Latents -> images float32 [B,3,H,W] in -1..1."""
        return self.dec(latents)


class TwoDomains(nn.Module):
    """The VAE-GANs of the domains a and b."""

    def __init__(self, *, width: int = 64, n_downs: int = 2, n_res: int = 4, channels: int = 3, activation: str = "relu",
                 pad: str = "reflect") -> None:
        super().__init__()
        self.a, self.b = (VaeGan(width=width, n_downs=n_downs, n_res=n_res, channels=channels, activation=activation, pad=pad)
                          for _ in range(2))
        self.factor = self.a.factor

    def encode(self, images: Tensor, domain: str) -> Tensor:
        """images [B,3,H,W] in -1..1 of domain 'a' or 'b' -> the mean of their latents [B,C,H/4,W/4]."""
        return (self.a if domain == "a" else self.b).encode(images)

    def decode(self, latents: Tensor, domain: str) -> Tensor:
        """Latents -> images [B,3,H,W] in -1..1 of domain 'a' or 'b'."""
        return (self.a if domain == "a" else self.b).decode(latents)

    def translate(self, images: Tensor, direction: str, noise: Tensor | None = None) -> Tensor:
        """images [B,3,H,W] in -1..1 through the latent space. direction: 'a to b', 'b to a', 'a to a' or 'b to b'. noise: added
        to the latents, of their shape; none gives the mean."""
        source, target = direction.split(" to ")
        latents = self.encode(images, source)
        return self.decode(latents if noise is None else latents + noise, target)


class MultiScaleDiscriminator(nn.Module):
    """One patch discriminator on the picture and on each of its halved copies."""

    def __init__(self, *, width: int = 64, n_layers: int = 4, scales: int = 3, channels: int = 3, pad: str = "reflect") -> None:
        super().__init__()

        def network() -> nn.Sequential:
            stages: list[nn.Module] = [ConvBlock(channels, width, 4, 2, 1, activation="lrelu", pad=pad)]
            stages += [ConvBlock(width << i, width << (i + 1), 4, 2, 1, activation="lrelu", pad=pad)
                       for i in range(n_layers - 1)]
            return nn.Sequential(*stages, nn.Conv2d(width << (n_layers - 1), 1, 1))

        self.cnns = nn.ModuleList(network() for _ in range(scales))

    def forward(self, images: Tensor) -> list[Tensor]:
        """images [B,3,H,W] -> judgements [B,1,h,w] per scale."""
        found: list[Tensor] = []
        for cnn in self.cnns:
            found.append(cnn(images))
            images = F.avg_pool2d(images, 3, 2, 1, count_include_pad=False)
        return found


def unit_noise(like: Tensor, rng: torch.Generator) -> Tensor:
    """Noise of deviation 1 in the shape of latents."""
    return torch.randn(like.shape, generator=rng).to(like)
