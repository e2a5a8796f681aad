"""The encoder: picture -> W+ codes, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import InvalidInputError
from ..stylegan2.discriminator import DiscriminatorBlock
from ..stylegan2.generator import block_resolutions
from ..stylegan2.ops import Conv2d, Linear


class Encoder(nn.Module):
    """Residual encoder: StyleGAN2 discriminator blocks down to 4x4, two linear layers, one row of W+ per layer.

    Predicts offsets from the average w, as pSp does. There is no batch statistic in it, so a picture's codes do not
    depend on what shares its batch. channels: feature channels per resolution, hidden: width before the last layer.
    """

    w_avg: Tensor

    def __init__(self, *, resolution: int, num_ws: int, w_dim: int, channels: Mapping[int, int], hidden: int = 512,
                 img_channels: int = 3) -> None:
        super().__init__()
        self.resolution, self.num_ws, self.w_dim = resolution, num_ws, w_dim
        for r in block_resolutions(resolution)[:0:-1]:
            self.add_module(f"b{r}", DiscriminatorBlock(
                0 if r == resolution else channels[r], channels[r], channels[r // 2], img_channels=img_channels,
                architecture="resnet", conv_clamp=None))
        self.conv = Conv2d(channels[4], channels[4], 3)
        self.fc = Linear(channels[4] * 16, hidden, activation=True)
        self.out = Linear(hidden, num_ws * w_dim)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, images: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """images float32 [B,3,R,R] in -1..1 -> W+ codes float32 [B,num_ws,w_dim]."""
        if tuple(images.shape[2:]) != (self.resolution, self.resolution):
            raise InvalidInputError(f"This encoder takes pictures of {self.resolution}x{self.resolution} pixels, got "
                                    f"{images.shape[3]}x{images.shape[2]}; crop and scale the picture first.")
        image: Tensor | None = images.to(dtype).contiguous(memory_format=torch.channels_last)
        x: Tensor | None = None
        for block in self.children():
            if isinstance(block, DiscriminatorBlock):
                x, image = block(x, image)
        offsets = self.out(self.fc(self.conv(x).float().flatten(1)))
        return self.w_avg + offsets.unflatten(1, (self.num_ws, self.w_dim))


def as_official(encoder: nn.Module) -> Callable[[Tensor], Tensor]:
    """The encoder as the official tool calls it inside its loops: on pictures in 0..1 although it was trained on -1..1,
    and in training mode, so that BatchNorm uses the statistics of the picture at hand.

    Pictures go through one by one, as in the tool, and the running statistics stay as they are.
    """
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]

    def encode(images: Tensor) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
        was = [norm.training for norm in norms]
        for norm in norms:
            norm.train()
        try:
            codes = [functional_call(encoder, buffers, (image[None],)) for image in (images + 1) / 2]
        finally:
            for norm, mode in zip(norms, was, strict=True):
                norm.train(mode)
        return torch.cat(codes)

    return encode
