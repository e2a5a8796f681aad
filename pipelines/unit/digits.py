"""UNIT's digits networks (Liu, Breuel, Kautz 2017, section on domain adaptation): a VAE whose first encoder layer and last two
decoder layers belong to a domain each, and a discriminator that classifies, too. 32x32 pixels; modules are named as in the
original release."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 32
SLOPE = 0.01


class _Bias(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[None, :, None, None]


class _Block(nn.Module):
    """Convolution, batch norm without parameters, a bias of its own, leaky ReLU."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        channels = conv.out_channels
        self.model = nn.Sequential(conv, nn.BatchNorm2d(channels, affine=False), _Bias(channels), nn.LeakyReLU(SLOPE))

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class _Gaussian(nn.Module):
    """Mean and deviation of a latent."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.en_mu, self.en_sigma = nn.Conv2d(channels, channels, 1), nn.Conv2d(channels, channels, 1)


class DigitsBoth(NamedTuple):
    """Digits of either domain in either domain, and the Gaussian of their latents, a before b."""

    aa: Tensor
    ba: Tensor
    ab: Tensor
    bb: Tensor
    mean: Tensor
    deviation: Tensor


class DigitsVae(nn.Module):
    """width: channels of the first layer, 96 in the published network. channels: of pictures of the domains a and b."""

    def __init__(self, *, width: int = 96, channels_a: int = 3, channels_b: int = 1) -> None:
        super().__init__()
        w = width
        self.g_en_conv0_a = _Block(nn.Conv2d(channels_a + 2, w, 5, 2, 2))
        self.g_en_conv0_b = _Block(nn.Conv2d(channels_b + 2, w, 5, 2, 2))
        self.g_en_conv1 = _Block(nn.Conv2d(w, 2 * w, 5, 2, 2))
        self.g_en_conv2 = _Block(nn.Conv2d(2 * w, 4 * w, 8))
        self.g_en_conv3 = _Block(nn.Conv2d(4 * w, 8 * w, 1))
        self.g_vae = _Gaussian(8 * w)
        self.g_de_conv0 = _Block(nn.ConvTranspose2d(8 * w, 8 * w, 4, 2))
        self.g_de_conv1 = _Block(nn.ConvTranspose2d(8 * w, 4 * w, 4, 2, 1))
        self.g_de_conv2 = _Block(nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1))
        self.g_de_conv3_a, self.g_de_conv3_b = (_Block(nn.ConvTranspose2d(2 * w, w, 4, 2, 1)) for _ in range(2))
        self.de_conv4_a, self.de_conv4_b = nn.ConvTranspose2d(w, channels_a, 1), nn.ConvTranspose2d(w, channels_b, 1)

    def encode(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """What a domain's first layer gives -> mean and deviation of the latent [B,C,1,1]."""
        x = self.g_en_conv3(self.g_en_conv2(self.g_en_conv1(first)))
        return self.g_vae.en_mu(x), F.softplus(self.g_vae.en_sigma(x))

    def decode(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents -> digits of domain a and of domain b, in -1..1."""
        x = self.g_de_conv2(self.g_de_conv1(self.g_de_conv0(latents)))
        return self.de_conv4_a(self.g_de_conv3_a(x)).tanh(), self.de_conv4_b(self.g_de_conv3_b(x)).tanh()

    def first(self, images: Tensor, domain: str) -> Tensor:
        """A domain's own layer, on the pictures with the coordinates of their pixels."""
        axis = torch.arange(SIDE, device=images.device, dtype=images.dtype) / (SIDE / 2) - 1
        coordinates = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).expand(len(images), -1, -1, -1)
        layer = self.g_en_conv0_a if domain == "a" else self.g_en_conv0_b
        return layer(torch.cat([images, coordinates], dim=1))

    def forward(self, a: Tensor, b: Tensor, noise: Tensor | None = None) -> DigitsBoth:
        """Both domains through the shared layers as one batch. noise [2B,C,1,1]: scaled by the deviation and added."""
        mean, deviation = self.encode(torch.cat([self.first(a, "a"), self.first(b, "b")]))
        in_a, in_b = self.decode(mean if noise is None else mean + deviation * noise)
        return DigitsBoth(in_a[:len(a)], in_a[len(a):], in_b[:len(a)], in_b[len(a):], mean, deviation)


class DigitsDiscriminator(nn.Module):
    """Real or not, and which digit. Only the first layer belongs to a domain. dropout: of the four layers, in training."""

    def __init__(self, *, width: int = 64, channels_a: int = 3, channels_b: int = 1, classes: int = 10,
                 dropout: tuple[float, float, float, float] = (0.1, 0.3, 0.5, 0.5)) -> None:
        super().__init__()

        def layer(channels_in: int, channels: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(channels_in, channels, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(2, 2))

        self.conv0_a, self.conv0_b = layer(channels_a, width), layer(channels_b, width)
        self.conv1, self.conv2, self.conv3 = (layer(width << i, width << (i + 1)) for i in range(3))
        self.conv4, self.conv_cl = nn.Conv2d(width * 8, 2, 2), nn.Conv2d(width * 8, classes, 2)
        self.dropout = dropout

    def features(self, images: Tensor, domain: str) -> Tensor:
        """Digits of a domain -> features [B,C,2,2]."""
        x = (self.conv0_a if domain == "a" else self.conv0_b)(images)
        for share, layer in zip(self.dropout, (self.conv1, self.conv2, self.conv3, None), strict=True):
            x = F.dropout(x, share, self.training)
            x = x if layer is None else layer(x)
        return x

    def judge(self, features: Tensor) -> Tensor:
        """Logits of made and real, [B,2]."""
        return self.conv4(features).flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits of the digits, [B,classes]."""
        return self.conv_cl(features).flatten(1)


def gaussian_kl(mean: Tensor, deviation: Tensor) -> Tensor:
    """Twice the KL divergence to the unit Gaussian up to a constant, as the original release sums it, per picture."""
    variance = deviation.square()
    return (mean.square() + variance - variance.log()).sum() / len(mean)
