"""FUNIT's networks (Liu et al. 2019; WO 2020/159890), as published, its slips included where the weights depend on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..image_blocks import ConvBlock, ResidualBlocks, Stages, UpBlock

SMALLEST_CLASS_IMAGE = 16


@dataclass(frozen=True, eq=False)
class ClassCode:
    """What a translator has understood of a class. code float32 [B,latent_dim]; count: pictures it was averaged over;
    fingerprint, translator: of the network it belongs to."""

    code: Tensor
    count: int
    fingerprint: str
    translator: str = ""
    name: str = ""

    def with_code(self, code: Tensor, count: int, name: str = "") -> ClassCode:
        """The same for another code."""
        return replace(self, code=code, count=count, name=name or self.name)


class Linear(nn.Module):
    """A linear layer under the official name."""

    def __init__(self, channels_in: int, channels: int, *, last: bool) -> None:
        super().__init__()
        self.fc, self.last = nn.Linear(channels_in, channels), last

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) if self.last else F.relu(self.fc(x))


class Translator(nn.Module):
    """Few-shot generator: content encoder, class encoder, the AdaIN parameters of a class, decoder.

    width: channels of the first layer, 64 in the published network. n_downs_content, n_downs_class: halvings. n_res: residual
    blocks of content encoder and decoder. latent_dim: of a class code. mlp_width, mlp_layers: of the network that turns a code
    into AdaIN parameters.
    """

    def __init__(self, *, width: int = 64, n_downs_content: int = 3, n_downs_class: int = 4, n_res: int = 2,
                 latent_dim: int = 64, mlp_width: int = 256, mlp_layers: int = 3) -> None:
        super().__init__()
        self.latent_dim, self.n_res, self.factor = latent_dim, n_res, 2**n_downs_content
        content: list[nn.Module] = [ConvBlock(3, width, 7, 1, 3, norm="in")]
        content += [ConvBlock(width << i, width << (i + 1), 4, 2, 1, norm="in") for i in range(n_downs_content)]
        self.channels = width << n_downs_content
        self.enc_content = Stages(*content, ResidualBlocks(n_res, self.channels))
        widths = [width << min(i, 2) for i in range(n_downs_class + 1)]
        classes = [ConvBlock(3, width, 7, 1, 3)]
        classes += [ConvBlock(a, b, 4, 2, 1) for a, b in pairwise(widths)]
        self.enc_class_model = Stages(*classes, nn.AdaptiveAvgPool2d(1), nn.Conv2d(widths[-1], latent_dim, 1))
        sizes = [latent_dim, *[mlp_width] * (mlp_layers - 1), 4 * n_res * self.channels]
        self.mlp = Stages(*(Linear(a, b, last=i == mlp_layers - 1) for i, (a, b) in enumerate(pairwise(sizes))))
        stages: list[nn.Module] = [ResidualBlocks(n_res, self.channels, norm="adain")]
        for i in range(n_downs_content):  # every other place was a layer without parameters
            stages += [nn.Identity(), UpBlock(self.channels >> i, norm="in")]
        self.dec = Stages(*stages, ConvBlock(width, 3, 7, 1, 3, activation="tanh"))

    def content(self, images: Tensor) -> Tensor:
        """images float32 [B,3,H,W] in -1..1 -> content codes [B,C,H/8,W/8]: the pose, without the class."""
        if min(images.shape[2:]) < 2 * self.factor:
            raise InvalidInputError(f"A content picture has at least {2 * self.factor} pixels a side, got "
                                    f"{images.shape[3]}x{images.shape[2]}.")
        return self.enc_content(images)

    def class_codes(self, images: Tensor) -> Tensor:
        """images float32 [B,3,H,W] in -1..1 -> class codes [B,latent_dim], one per picture. A class shown by K pictures is the
        mean of their codes."""
        if min(images.shape[2:]) < SMALLEST_CLASS_IMAGE:
            raise InvalidInputError(f"A class picture has at least {SMALLEST_CLASS_IMAGE} pixels a side, got "
                                    f"{images.shape[3]}x{images.shape[2]}.")
        return self.enc_class_model(images).flatten(1)

    def affine(self, codes: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Class codes [B,latent_dim] -> mean and deviation [B,C] per adaptive instance norm, in the decoder's order."""
        means = self.mlp(codes).unflatten(1, (2 * self.n_res, 2, self.channels))
        return [(means[:, i, 0], means[:, i, 1]) for i in range(2 * self.n_res)]

    def decode(self, content: Tensor, codes: Tensor) -> Tensor:
        """Content codes [B,C,h,w] in the class of codes [B or 1,latent_dim] -> images [B,3,8h,8w] in -1..1."""
        first, *rest = self.dec.model
        x = first(content, [(m.expand(len(content), -1), s.expand(len(content), -1)) for m, s in self.affine(codes)])
        for stage in rest:
            x = stage(x)
        return x

    def forward(self, images: Tensor, codes: Tensor) -> Tensor:
        """Translate images [B,3,H,W] to the class of codes [B or 1,latent_dim]."""
        return self.decode(self.content(images), codes)


class PreActivationBlock(nn.Module):
    """leaky ReLU and 3x3 convolution, twice, beside a shortcut. The official activation works in place: an identity shortcut
    adds the activated input, a learned one sees the input itself."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        inner = min(channels_in, channels)
        self.conv_0 = ConvBlock(channels_in, inner, 3, 1, 1, activation="none")
        self.conv_1 = ConvBlock(inner, channels, 3, 1, 1, activation="none")
        self.conv_s: nn.Module | None = None
        if channels_in != channels:
            self.conv_s = ConvBlock(channels_in, channels, 1, activation="none")
            self.conv_s.conv = nn.Conv2d(channels_in, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        active = F.leaky_relu(x, 0.2)
        shortcut = active if self.conv_s is None else self.conv_s(x)
        return shortcut + self.conv_1(F.leaky_relu(self.conv_0(active), 0.2))


class MultiTaskDiscriminator(nn.Module):
    """One map of judgements per class. n_res: residual blocks, two per resolution. num_classes: of the training."""

    def __init__(self, *, width: int = 64, n_res: int = 10, num_classes: int = 119) -> None:
        super().__init__()
        self.num_classes = num_classes
        stages: list[nn.Module] = [ConvBlock(3, width, 7, 1, 3, activation="none")]
        channels = width
        for i in range(n_res // 2):
            wider = min(channels * 2, 1024)
            stages += [PreActivationBlock(channels, channels), PreActivationBlock(channels, wider)]
            channels = wider
            if i < n_res // 2 - 1:
                stages += [nn.ReflectionPad2d(1), nn.AvgPool2d(3, 2)]
        self.cnn_f = nn.Sequential(*stages)
        self.cnn_c = nn.Sequential(ConvBlock(channels, num_classes, 1, activation="none"))

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """images [B,3,H,W], labels int64 [B] -> the judgements of the labels' maps [B,h,w], and the features [B,C,h,w], which
        the head's activation has changed as the official one does in place."""
        features = F.leaky_relu(self.cnn_f(images), 0.2)
        return self.cnn_c(features)[torch.arange(len(images), device=images.device), labels], features
