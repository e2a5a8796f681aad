"""Blocks that FUNIT and UNIT are made of. Modules are named as in the official files.

The up-convolution is computed as a small one: a 5x5 convolution of a picture enlarged by repeating pixels is a 3x3 convolution
of the small picture with four times the outputs, shuffled into place. Only the outermost ring of pixels sees another
border than the small picture has, and is corrected.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import winograd
from .stylegan2.ops import FrozenCache

EPS = 1e-5
FEW_OUTPUTS = 4
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x, "relu": F.relu, "lrelu": lambda x: F.leaky_relu(x, 0.2), "tanh": torch.tanh}
PADDINGS = {"reflect": "reflect", "zero": "constant"}


def instance_norm(x: Tensor, affine: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """With channels last in memory torch's batch norm of each sample is faster than its instance norm. affine: mean and
    deviation [B,C]."""
    means, deviations = (None, None) if affine is None else affine
    samples = [F.batch_norm(x[i:i + 1], None, None, None if deviations is None else deviations[i],
                            None if means is None else means[i], training=True, eps=EPS) for i in range(len(x))]
    return samples[0] if len(samples) == 1 else torch.cat(samples)


class LayerNorm(nn.Module):
    """UNIT's: over channels and pixels of a picture, unbiased deviation, eps outside of the root."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if winograd.only_inferring(x, self.gamma):
            mean = x.mean((1, 2, 3), keepdim=True)
            deviation = ((x - mean).square().sum((1, 2, 3), keepdim=True) / (x[0].numel() - 1)).sqrt()
        else:
            deviation, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
        scale = self.gamma[None, :, None, None] / (deviation + EPS)
        return torch.addcmul((self.beta[None, :, None, None] - mean * scale).to(x.dtype), x, scale.to(x.dtype))


def norm_layer(norm: str, channels: int) -> nn.Module | None:
    """'none', 'in' (instance norm without parameters), 'ln', or 'adain', whose parameters come with each call."""
    if norm == "ln":
        return LayerNorm(channels)
    return None if norm == "none" else nn.InstanceNorm2d(channels, eps=EPS)


class ConvBlock(nn.Module):
    """Pad, convolve, normalise, activate. affine: mean and deviation [B,C] that an adaptive instance norm gives."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int = 1, padding: int = 0, *, norm: str = "none",
                 activation: str = "relu", pad: str = "reflect") -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels, kernel, stride)
        self.norm = norm_layer(norm, channels)
        self.padding, self.pad, self.activation = padding, pad, activation
        self._kernels = FrozenCache()

    def convolved(self, padded: Tensor, weight: Tensor, bias: Tensor | None, name: str) -> Tensor:
        """A convolution with stride 1, by Winograd's form where that is faster; `name` tells the weights apart."""
        if not winograd.serves(padded, weight):
            return F.conv2d(padded, weight, bias)
        tile = winograd.tile_for(padded)
        y = winograd.convolve(padded, self._kernels(f"{name} {tile}", weight, partial(winograd.transformed, tile=tile)), tile)
        return y if bias is None else y + bias[None, :, None, None]

    def padded(self, x: Tensor) -> Tensor:
        """The input with its border."""
        return F.pad(x, (self.padding,) * 4, mode=PADDINGS[self.pad]) if self.padding else x

    def finished(self, x: Tensor, affine: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """What follows the convolution."""
        if isinstance(self.norm, nn.InstanceNorm2d) and winograd.only_inferring(x, self.conv.weight):
            return ACTIVATIONS[self.activation](instance_norm(x, affine))
        if self.norm is not None:
            x = self.norm(x)
        if affine is not None:
            mean, deviation = (part.to(x.dtype)[:, :, None, None] for part in affine)
            x = torch.addcmul(mean, x, deviation)
        return ACTIVATIONS[self.activation](x)

    def forward(self, x: Tensor, affine: tuple[Tensor, Tensor] | None = None) -> Tensor:
        conv = self.conv
        if winograd.only_inferring(x, conv.weight):
            x = x.contiguous(memory_format=torch.channels_last)
        padded = self.padded(x)
        if conv.kernel_size == (3, 3) and conv.stride == (1, 1):
            y = self.convolved(padded, conv.weight, conv.bias, "own")
        elif conv.kernel_size[0] > 3 and conv.out_channels <= FEW_OUTPUTS and not conv.weight.requires_grad:
            y = to_few_channels(padded, conv.weight, conv.bias)
        else:
            y = conv(padded)
        return self.finished(y, affine)


def to_few_channels(padded: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A large convolution with few outputs: one product over the channels for all taps, then the taps' maps, shifted, added."""
    outputs, _, rows, columns = weight.shape
    height, width = int(padded.shape[2]) - rows + 1, int(padded.shape[3]) - columns + 1
    kernels, pixels = weight.permute(2, 3, 0, 1).reshape(-1, weight.shape[1]), padded.permute(0, 2, 3, 1).flatten(0, 2)
    taps = (kernels @ pixels.t()).view(rows, columns, outputs, len(padded), *padded.shape[2:])
    y = taps.new_zeros(outputs, len(padded), height, width) if bias is None else (
        bias.to(taps.dtype)[:, None, None, None].expand(-1, len(padded), height, width).clone())
    for dy in range(rows):
        for dx in range(columns):
            y += taps[dy, dx, :, :, dy:dy + height, dx:dx + width]
    return y.transpose(0, 1)


class UpBlock(ConvBlock):
    """Twice the size by repeating pixels, then a 5x5 block that halves the channels. Weights in training take the direct form,
    whose rounding is the official one's: RMSprop makes full steps of it."""

    def __init__(self, channels: int, *, norm: str, activation: str = "relu", pad: str = "reflect") -> None:
        super().__init__(channels, channels // 2, 5, 1, 2, norm=norm, activation=activation, pad=pad)
        self._small = FrozenCache()

    def forward(self, x: Tensor, affine: tuple[Tensor, Tensor] | None = None) -> Tensor:
        if self.pad != "reflect" or min(x.shape[2:]) < 2 or self.conv.weight.requires_grad:
            return super().forward(F.interpolate(x, scale_factor=2, mode="nearest"), affine)
        return self.finished(self.upsampled(x), affine)

    def upsampled(self, x: Tensor) -> Tensor:
        """conv5x5(reflect(repeat(x))), exactly up to rounding."""
        weight = self.conv.weight
        small = self._small("small", weight, _merged)
        y = F.pixel_shuffle(self.convolved(F.pad(x, (1, 1, 1, 1), mode="replicate"), small, None, "small"), 2)
        if self.conv.bias is not None:
            y = y + self.conv.bias[None, :, None, None]
        for a, b, line, tap in _edges(x.shape[2]):
            y[:, :, line:line + 1 or None] += self._edge(x[:, :, a:a + 1] - x[:, :, b:b + 1], tap, vertical=False)
        for a, b, line, tap in _edges(x.shape[3]):
            y[:, :, :, line:line + 1 or None] += self._edge(x[:, :, :, a:a + 1] - x[:, :, :, b:b + 1], tap, vertical=True)
        return y

    def _edge(self, difference: Tensor, tap: int, *, vertical: bool) -> Tensor:
        """What the outermost line lacks: its farthest taps see the second line of the small picture, where a border of
        repeated pixels shows the first. Along the line the border is reflected for rows, and repeated for columns, which come
        second."""
        strip = difference.repeat_interleave(2, dim=2 if vertical else 3)
        padded = F.pad(strip, (0, 0, 2, 2), mode="replicate") if vertical else F.pad(strip, (2, 2, 0, 0), mode="reflect")
        taps = self._small(f"tap {tap} {vertical}", self.conv.weight, partial(_taps, tap=tap, vertical=vertical))
        seen = padded.flatten(2).unfold(2, 5, 1).transpose(2, 3).flatten(1, 2)  # [B,5C,length]
        return (taps @ seen).unsqueeze(3 if vertical else 2)


def _taps(weight: Tensor, tap: int, *, vertical: bool) -> Tensor:
    """The column (or row) of taps that sees beyond the border, as a matrix [O,5I]."""
    return (weight[:, :, :, tap] if vertical else weight[:, :, tap]).flatten(1).contiguous()


def _edges(size: int) -> tuple[tuple[int, int, int, int], tuple[int, int, int, int]]:
    """At the first and the last line: the line that is seen, the one that is shown, where it is, and the tap that sees it."""
    return (1, 0, 0, 0), (size - 2, size - 1, -1, 4)


def _merged(weight: Tensor) -> Tensor:
    """5x5 weights [O,I,5,5] as 3x3 weights [4O,I,3,3] of the four pixels that one pixel becomes, in pixel_shuffle's order."""
    def along(w: Tensor, phase: int, dim: int) -> Tensor:
        k = w.unbind(dim)
        taps = [k[0] + k[1], k[2] + k[3], k[4]] if phase == 0 else [k[0], k[1] + k[2], k[3] + k[4]]
        return torch.stack(taps, dim=dim)

    phases = [along(along(weight, py, 2), px, 3) for py in (0, 1) for px in (0, 1)]
    return torch.stack(phases, dim=1).flatten(0, 1)


class ResidualBlock(nn.Module):
    """Two 3x3 blocks beside the identity; no activation behind the sum."""

    def __init__(self, channels: int, *, norm: str = "in", activation: str = "relu", pad: str = "reflect") -> None:
        super().__init__()
        self.model = nn.Sequential(ConvBlock(channels, channels, 3, 1, 1, norm=norm, activation=activation, pad=pad),
                                   ConvBlock(channels, channels, 3, 1, 1, norm=norm, activation="none", pad=pad))

    def forward(self, x: Tensor, affine: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        y = x
        for i, block in enumerate(self.model):
            y = block(y, None if affine is None else affine[i])
        return y + x


class ResidualBlocks(nn.Module):
    """Residual blocks in a row. affine: one pair per convolution, in their order."""

    def __init__(self, count: int, channels: int, *, norm: str = "in", activation: str = "relu", pad: str = "reflect") -> None:
        super().__init__()
        self.model = nn.Sequential(*(ResidualBlock(channels, norm=norm, activation=activation, pad=pad) for _ in range(count)))

    def forward(self, x: Tensor, affine: list[tuple[Tensor, Tensor]] | None = None) -> Tensor:
        for i, block in enumerate(self.model):
            x = block(x, None if affine is None else affine[2 * i:2 * i + 2])
        return x


class Stages(nn.Module):
    """Modules in a row under the name `model`, as the official code has them."""

    def __init__(self, *stages: nn.Module) -> None:
        super().__init__()
        self.model = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def initialise(module: nn.Module, kind: str) -> None:
    """The official initialisation: 'kaiming' (fan in) or 'gaussian' (deviation 0.02) weights, biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if kind == "kaiming":
                nn.init.kaiming_normal_(layer.weight, a=0, mode="fan_in")
            else:
                nn.init.normal_(layer.weight, 0.0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
