"""The StyleGAN2 discriminator, with the parameter names of stylegan2-ada-pytorch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from ..errors import InvalidInputError
from .generator import block_resolutions
from .mapping import MappingNetwork
from .ops import Conv2d, Linear, downsample, resample_filter


class DiscriminatorBlock(nn.Module):
    """[B,in,r,r] -> [B,out,r/2,r/2], with the image entering by fromRGB (first block, or every block in skip form)."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, *, img_channels: int, architecture: str,
                 conv_clamp: float | None) -> None:
        super().__init__()
        self.register_buffer("resample_filter", resample_filter())
        self.architecture = architecture
        self.takes_image = in_channels == 0 or architecture == "skip"
        if self.takes_image:
            self.fromrgb = Conv2d(img_channels, mid_channels, 1, conv_clamp=conv_clamp)
        self.conv0 = Conv2d(mid_channels, mid_channels, 3, conv_clamp=conv_clamp)
        self.conv1 = Conv2d(mid_channels, out_channels, 3, down=True, conv_clamp=conv_clamp)
        if architecture == "resnet":
            self.skip = Conv2d(mid_channels, out_channels, 1, bias=False, activation=False, down=True)

    def forward(self, x: Tensor | None, image: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if self.takes_image and image is not None:
            y = self.fromrgb(image)
            x = y if x is None else x + y
            image = downsample(image, self.resample_filter) if self.architecture == "skip" else None
        if x is None:
            raise InvalidInputError("A discriminator block after the first needs the features of the block before it.")
        if self.architecture != "resnet":
            return self.conv1(self.conv0(x)), image
        gain = math.sqrt(0.5)
        return self.skip(x, gain=gain) + self.conv1(self.conv0(x), gain=gain), image


def minibatch_std(x: Tensor, *, group_size: int | None, num_channels: int) -> Tensor:
    """Append `num_channels` maps of the standard deviation over groups of samples. [B,C,H,W] -> [B,C+num,H,W].

    The group is min(group_size, B) samples and must divide the batch.
    """
    n, c, h, w = x.shape
    group = n if group_size is None else min(group_size, n)
    if n % group:
        raise InvalidInputError(f"The minibatch deviation works on groups of {group} images; a batch of {n} is no "
                                f"multiple of it.")
    y = x.reshape(group, -1, num_channels, c // num_channels, h, w)
    y = ((y - y.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean(dim=(2, 3, 4))
    return torch.cat([x, y.reshape(-1, num_channels, 1, 1).repeat(group, 1, h, w).to(x.dtype)], dim=1)


class DiscriminatorEpilogue(nn.Module):
    """The 4x4 end: minibatch deviation, convolution, two linear layers, projection on the condition."""

    resample_filter: Tensor

    def __init__(self, channels: int, *, cmap_dim: int, img_channels: int, architecture: str,
                 mbstd_group_size: int | None, mbstd_num_channels: int, conv_clamp: float | None) -> None:
        super().__init__()
        self.cmap_dim, self.mbstd_group_size, self.mbstd_num_channels = cmap_dim, mbstd_group_size, mbstd_num_channels
        self.takes_image = architecture == "skip"
        if self.takes_image:
            self.fromrgb = Conv2d(img_channels, channels, 1)
        self.conv = Conv2d(channels + mbstd_num_channels, channels, 3, conv_clamp=conv_clamp)
        self.fc = Linear(channels * 16, channels, activation=True)
        self.out = Linear(channels, cmap_dim or 1)

    def forward(self, x: Tensor, image: Tensor | None, cmap: Tensor | None) -> Tensor:
        if self.takes_image and image is not None:
            x = x + self.fromrgb(image)
        if self.mbstd_num_channels:
            x = minibatch_std(x, group_size=self.mbstd_group_size, num_channels=self.mbstd_num_channels)
        x = self.out(self.fc(self.conv(x).to(self.fc.weight.dtype).flatten(1)))
        return x if cmap is None else (x * cmap).sum(dim=1, keepdim=True) / math.sqrt(self.cmap_dim)


class Discriminator(nn.Module):
    """Images [B,img_channels,R,R] in -1..1 (and c [B,c_dim]) -> logits [B,1]; higher means more real.

    architecture 'resnet', 'skip' or 'orig'. dtype of `forward` as in the generator: bfloat16 for the convolutions.
    """

    def __init__(self, *, c_dim: int, resolution: int, channels: Mapping[int, int], img_channels: int = 3,
                 architecture: str = "resnet", cmap_dim: int | None = None, mbstd_group_size: int | None = 4,
                 mbstd_num_channels: int = 1, mapping_layers: int = 8, conv_clamp: float | None = None) -> None:
        super().__init__()
        if architecture not in ("resnet", "skip", "orig"):
            raise InvalidInputError(
                f"A discriminator's architecture is 'resnet', 'skip' or 'orig', got '{architecture}'.")
        self.c_dim, self.resolution = c_dim, resolution
        resolutions = block_resolutions(resolution)[:0:-1]
        cmap_dim = (channels[4] if cmap_dim is None else cmap_dim) if c_dim else 0
        for r in resolutions:
            self.add_module(f"b{r}", DiscriminatorBlock(
                0 if r == resolution else channels[r], channels[r], channels[r // 2], img_channels=img_channels,
                architecture=architecture, conv_clamp=conv_clamp))
        if c_dim:
            self.mapping = MappingNetwork(z_dim=0, c_dim=c_dim, w_dim=cmap_dim, num_layers=mapping_layers,
                                          track_average=False)
        self.b4 = DiscriminatorEpilogue(channels[4], cmap_dim=cmap_dim, img_channels=img_channels,
                                        architecture=architecture, mbstd_group_size=mbstd_group_size,
                                        mbstd_num_channels=mbstd_num_channels, conv_clamp=conv_clamp)

    def features(self, image: Tensor, dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor | None]:
        """Output of every block, [B,C,R/2,R/2] down to [B,C,4,4], and the image as the epilogue takes it."""
        if image.ndim != 4 or image.shape[2] != self.resolution or image.shape[3] != self.resolution:
            raise InvalidInputError(f"This discriminator takes images [B,C,{self.resolution},{self.resolution}], "
                                    f"got {list(image.shape)}.")
        x: Tensor | None = None
        left: Tensor | None = image.to(dtype).contiguous(memory_format=torch.channels_last)
        outputs: list[Tensor] = []
        for block in self.children():
            if isinstance(block, DiscriminatorBlock):
                x, left = cast("tuple[Tensor, Tensor | None]", block(x, left))
                outputs.append(x)
        return outputs, left

    def forward(self, image: Tensor, c: Tensor | None = None, *, dtype: torch.dtype = torch.float32) -> Tensor:
        outputs, left = self.features(image, dtype)
        return self.b4(outputs[-1], left, self.mapping(None, c) if self.c_dim else None)
