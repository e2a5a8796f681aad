"""The StyleGAN2 generator, with the parameter names of stylegan2-ada-pytorch.

`synthesis` takes W+ codes: one style vector per layer. Rows are counted as everywhere in the field: row 0 drives the
first convolution, row 1 the first toRGB and the next block's first convolution, and so on; the last row drives only
the last toRGB. (Karras et al. 2020; Karras et al., "Training GANs with limited data", 2020.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidInputError
from .mapping import MappingNetwork, truncate
from .ops import DEMODULATION_EPS, Conv2d, FrozenCache, Linear, activate, blur, resample_filter, upsample

Noise = Literal["const", "random", "none"] | Sequence[Tensor]
Generators = Sequence[torch.Generator]


def block_resolutions(resolution: int) -> list[int]:
    """[4, 8, ..., resolution]; the resolution must be a power of two from 4 on."""
    if resolution < 4 or resolution & (resolution - 1):
        raise InvalidInputError(f"A StyleGAN2 resolution is a power of two from 4 on, got {resolution}.")
    return [2**i for i in range(2, int(math.log2(resolution)) + 1)]


def standard_channels(resolution: int, *, channel_base: int = 32768, channel_max: int = 512) -> dict[int, int]:
    """Feature channels per resolution: min(channel_base / r, channel_max)."""
    return {r: min(channel_base // r, channel_max) for r in block_resolutions(resolution)}


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU. x [B,in,H,W], w [B,w_dim] -> [B,out,r,r]."""

    resample_filter: Tensor
    noise_const: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, w_dim: int, resolution: int, up: bool = False,
                 conv_clamp: float | None = None) -> None:
        super().__init__()
        self.resolution, self.up, self.conv_clamp = resolution, up, conv_clamp
        self.affine = Linear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.register_buffer("resample_filter", resample_filter())
        self._frozen = FrozenCache()

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None, gain: float = 1.0) -> Tensor:
        style = self.affine(w)
        energy = self._frozen("energy", self.weight, lambda weight: weight.square().sum(dim=(2, 3)).t())
        demodulation = (style.square() @ energy + DEMODULATION_EPS).rsqrt()
        fold = x.shape[0] == 1 and not torch.is_grad_enabled() and self.weight.numel() < x.numel()
        if fold:  # one sample, nothing to differentiate, few weights: styles cost less on the weights
            weight = self.weight * (style[0][None, :] * demodulation[0][:, None])[:, :, None, None]
            x = self._convolve(x, weight.to(x.dtype))
        else:
            weight = self.weight
            if weight.dtype != x.dtype:
                weight = self._frozen(str(x.dtype), weight, lambda weight: weight.to(x.dtype))
            x = self._convolve(x * style.to(x.dtype)[:, :, None, None], weight)
        if noise is not None:
            noise = noise * self.noise_strength
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        return activate(x, self.bias, scale=None if fold else demodulation, noise=noise,
                        gain=math.sqrt(2.0) * gain, clamp=clamp)

    def _convolve(self, x: Tensor, weight: Tensor) -> Tensor:
        if not self.up:
            return F.conv2d(x, weight, padding=1)
        return blur(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), self.resample_filter, padding=1, gain=4.0)


class ToRGB(nn.Module):
    """Modulated 1x1 convolution without demodulation. x [B,in,r,r], w [B,w_dim] -> float32 [B,img_channels,r,r]."""

    def __init__(self, in_channels: int, out_channels: int, *, w_dim: int, conv_clamp: float | None = None) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = Linear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) * self.weight_gain
        weight = self.weight[:, :, 0, 0][None] * style[:, None, :]
        pixels = x.permute(0, 2, 3, 1).flatten(1, 2)  # [B,HW,in], a view in channels_last
        rgb = torch.baddbmm(self.bias.to(x.dtype)[None, None], pixels, weight.to(x.dtype).transpose(1, 2))
        rgb = rgb.transpose(1, 2).reshape(x.shape[0], rgb.shape[2], *x.shape[2:]).float()
        return rgb if self.conv_clamp is None else rgb.clamp(-self.conv_clamp, self.conv_clamp)


class SynthesisBlock(nn.Module):
    """Two layers (one at 4x4) and, in the skip form or the last block, a toRGB."""

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, *, w_dim: int, resolution: int, img_channels: int,
                 is_last: bool, architecture: str, conv_clamp: float | None) -> None:
        super().__init__()
        self.register_buffer("resample_filter", resample_filter())
        self.resolution, self.is_first = resolution, in_channels == 0
        if self.is_first:
            self.const = nn.Parameter(torch.randn(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(in_channels, out_channels, w_dim=w_dim, resolution=resolution, up=True,
                                        conv_clamp=conv_clamp)
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim=w_dim, resolution=resolution,
                                    conv_clamp=conv_clamp)
        self.num_conv = 1 if self.is_first else 2
        self.residual = architecture == "resnet" and not self.is_first
        if self.residual:
            self.skip = Conv2d(in_channels, out_channels, 1, bias=False, activation=False, up=True)
        self.has_rgb = is_last or architecture == "skip"
        if self.has_rgb:
            self.torgb = ToRGB(out_channels, img_channels, w_dim=w_dim, conv_clamp=conv_clamp)


class SynthesisNetwork(nn.Module):
    """W+ -> image and, on request, the output of every layer."""

    def __init__(self, *, w_dim: int, resolution: int, img_channels: int, channels: Mapping[int, int],
                 architecture: str, conv_clamp: float | None) -> None:
        super().__init__()
        self.resolutions = block_resolutions(resolution)
        self.w_dim = w_dim
        self.num_ws = 2 * len(self.resolutions)
        for i, r in enumerate(self.resolutions):
            block = SynthesisBlock(channels[self.resolutions[i - 1]] if i else 0, channels[r], w_dim=w_dim, resolution=r,
                                   img_channels=img_channels, is_last=r == resolution, architecture=architecture,
                                   conv_clamp=conv_clamp)
            self.add_module(f"b{r}", block)

    def blocks(self) -> list[SynthesisBlock]:
        """The blocks from 4x4 to the full resolution."""
        return [block for block in self.children() if isinstance(block, SynthesisBlock)]

    def layers(self) -> list[SynthesisLayer]:
        """The convolution layers in the order in which noise maps and features are listed."""
        return [layer for b in self.blocks() for layer in ((b.conv1,) if b.is_first else (b.conv0, b.conv1))]

    def noise_maps(self, noise: Noise, batch: int, rng: Generators | None) -> list[Tensor | None]:
        """One noise map [1 or B,1,r,r] per layer, or None, for `noise` as in `forward`."""
        layers = self.layers()
        if noise == "none":
            return [None] * len(layers)
        if noise == "const":
            return [layer.noise_const[None, None] for layer in layers]
        if noise == "random":
            if rng is None or len(rng) != batch:
                raise InvalidInputError(f"Random noise needs one random generator per sample: {batch}, got "
                                        f"{'none' if rng is None else len(rng)}.")
            maps = [[torch.randn(1, layer.resolution, layer.resolution, generator=g, device=g.device) for layer in layers]
                    for g in rng]
            return [torch.stack(level).to(layers[0].weight.device) for level in zip(*maps, strict=True)]
        if isinstance(noise, str) or len(noise) != len(layers):
            raise InvalidInputError(f"Noise is 'const', 'random', 'none' or a list of {len(layers)} maps, got "
                                    f"{noise if isinstance(noise, str) else f'{len(noise)} maps'}.")
        for given, layer in zip(noise, layers, strict=True):
            if tuple(given.shape[1:]) != (1, layer.resolution, layer.resolution) or given.shape[0] not in (1, batch):
                raise InvalidInputError(f"A noise map for this layer has shape [1 or {batch},1,{layer.resolution},"
                                        f"{layer.resolution}], got {list(given.shape)}.")
        return list(noise)

    def forward(self, ws: Tensor, *, noise: Noise = "const", rng: Generators | None = None,
                dtype: torch.dtype = torch.float32) -> tuple[Tensor, tuple[Tensor, ...]]:
        """ws float32 [B,num_ws,w_dim] -> (image float32 [B,img_channels,R,R] about -1..1, features).

        features: the constant input, then every layer's output after noise, bias and activation (before the residual
        sum in the resnet form), low to high resolution, each [B,C,r,r] in `dtype`. noise: 'const' uses the stored
        maps, 'random' draws from `rng` (one generator per sample), 'none' adds nothing, a list gives one map
        [1 or B,1,r,r] per layer. dtype float32, or bfloat16 for activations and convolution weights; styles,
        demodulation and the image sum stay float32.
        """
        if ws.ndim != 3 or tuple(ws.shape[1:]) != (self.num_ws, self.w_dim):
            raise InvalidInputError(f"W+ codes for this generator have shape [B,{self.num_ws},{self.w_dim}], "
                                    f"got {list(ws.shape)}.")
        rows = ws.unbind(dim=1)
        maps = iter(self.noise_maps(noise, ws.shape[0], rng))
        features: list[Tensor] = []
        image: Tensor | None = None
        x, row = ws, 0
        for block in self.blocks():
            if block.is_first:
                x = block.const.to(dtype)[None].expand(ws.shape[0], -1, -1, -1)
                x = x.contiguous(memory_format=torch.channels_last)
                features.append(x)
                x = block.conv1(x, rows[row], next(maps))
                features.append(x)
            else:
                gain = math.sqrt(0.5) if block.residual else 1.0
                shortcut = block.skip(x, gain=gain) if block.residual else None
                x = block.conv0(x, rows[row], next(maps))
                features.append(x)
                x = block.conv1(x, rows[row + 1], next(maps), gain=gain)
                features.append(x)
                if shortcut is not None:
                    x = x + shortcut
            row += block.num_conv
            if image is not None:
                image = upsample(image, block.resample_filter)
            if block.has_rgb:
                rgb = block.torgb(x, rows[row])
                image = rgb if image is None else image + rgb
        assert image is not None  # noqa: S101 (the last block always has a toRGB)
        return image.contiguous(), tuple(features)


class Generator(nn.Module):
    """Mapping and synthesis, `mapping.*` and `synthesis.b{r}.*` in the state dict.

    channels: feature channels per resolution; architecture 'skip' or 'resnet'; conv_clamp: activations are clamped to
    +-conv_clamp (nets trained in float16 use 256), None for no clamp.
    """

    def __init__(self, *, z_dim: int, c_dim: int, w_dim: int, resolution: int, channels: Mapping[int, int],
                 img_channels: int = 3, mapping_layers: int = 8, architecture: str = "skip",
                 conv_clamp: float | None = None) -> None:
        super().__init__()
        if architecture not in ("skip", "resnet"):
            raise InvalidInputError(f"A generator's architecture is 'skip' or 'resnet', got '{architecture}'.")
        self.z_dim, self.c_dim, self.w_dim, self.resolution = z_dim, c_dim, w_dim, resolution
        self.channels = {r: channels[r] for r in block_resolutions(resolution)}
        self.synthesis = SynthesisNetwork(w_dim=w_dim, resolution=resolution, img_channels=img_channels,
                                          channels=self.channels, architecture=architecture, conv_clamp=conv_clamp)
        self.mapping = MappingNetwork(z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, num_layers=mapping_layers)
        self.num_ws = self.synthesis.num_ws

    def feature_channels(self) -> tuple[int, ...]:
        """Channels of each entry of the feature list."""
        return (self.channels[4], *(layer.weight.shape[0] for layer in self.synthesis.layers()))

    def map(self, z: Tensor, c: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None) -> Tensor:
        """z [B,z_dim] -> W+ codes [B,num_ws,w_dim], every row equal before truncation by psi."""
        w = self.mapping(z, c)
        return truncate(w[:, None].expand(-1, self.num_ws, -1), self.mapping.w_avg, psi, cutoff)

    def forward(self, z: Tensor, c: Tensor | None = None, *, psi: float = 1.0, cutoff: int | None = None,
                noise: Noise = "const", rng: Generators | None = None) -> Tensor:
        """z [B,z_dim] -> image [B,img_channels,R,R], about -1..1."""
        return self.synthesis(self.map(z, c, psi=psi, cutoff=cutoff), noise=noise, rng=rng)[0]
