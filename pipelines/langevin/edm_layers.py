"""The layers of the U-Nets of EDM (Karras et al. 2022), for pictures and, our extension, for sound: every layer knows whether
it works along one axis or two. Names of parameters and buffers are those of the official files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Initialise = Callable[[Tensor, int, int], None]
"""Fills a tensor in place, given the numbers of values that go into and out of a neuron."""

_CONV = {1: F.conv1d, 2: F.conv2d}
_CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d}
_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d}


def group_norm(channels: int, eps: float) -> nn.GroupNorm:
    """32 groups, fewer where they would have under 4 channels or not the same number of them."""
    groups = next(n for n in range(max(1, min(32, channels // 4)), 0, -1) if channels % n == 0)
    return nn.GroupNorm(groups, channels, eps=eps)


class Linear(nn.Module):
    """weight [out,in], bias [out] or none. gain: of the initial weights."""

    bias: nn.Parameter | None

    def __init__(self, inputs: int, outputs: int, initialise: Initialise, *, gain: float = 1.0, bias: bool = True,
                 noisy_bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        _fill(self, initialise, inputs, outputs, gain, noisy_bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Conv(nn.Module):
    """Resampling by a factor of two, then a convolution: weight [out,in,k] or [out,in,k,k], bias [out].

    kernel: its size, 0 for resampling alone. resample: 'up', 'down' or None. taps: of the separable low-pass filter, [1,1] or
    [1,3,3,1], kept as the buffer resample_filter [1,1,t(,t)]. fused: convolve first and keep the border that the filter needs;
    it differs from the other order at the border of the picture.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None
    resample_filter: Tensor | None

    def __init__(self, inputs: int, outputs: int, kernel: int, initialise: Initialise, *, dims: int = 2, gain: float = 1.0,
                 resample: str | None = None, taps: Sequence[int] = (1, 1), fused: bool = False,
                 noisy_bias: bool = False) -> None:
        super().__init__()
        self.outputs, self.dims, self.kernel, self.resample, self.fused = outputs, dims, kernel, resample, fused
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *[kernel] * dims)) if kernel else None
        self.bias = nn.Parameter(torch.zeros(outputs)) if kernel else None
        if kernel:
            _fill(self, initialise, inputs * kernel**dims, outputs * kernel**dims, gain, noisy_bias)
        line = torch.tensor([float(t) for t in taps])
        line = line / line.sum()
        filtered = line if dims == 1 else torch.outer(line, line)
        self.register_buffer("resample_filter", filtered[None, None] if resample else None)
        self._reach = (len(taps) - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        if self.resample == "down" and self.fused:
            return self._down(self._convolve(x, self.kernel // 2 + self._reach), 0)
        if self.resample == "up" and self.kernel == 1 and not self._reach:  # the neighbours of a result are those of its input
            return self._up(self._convolve(x, 0))
        if self.resample == "up":
            x = self._up(x)
        elif self.resample == "down":
            x = self._down(x, self._reach)
        return self._convolve(x, self.kernel // 2)

    def _convolve(self, x: Tensor, padding: int) -> Tensor:
        return x if self.weight is None else _CONV[self.dims](x, self.weight, self.bias, padding=padding)

    def _depthwise(self, x: Tensor, gain: float) -> Tensor:
        return (cast(Tensor, self.resample_filter) * gain).to(x.dtype).expand(x.shape[1], *[-1] * (self.dims + 1))

    def _down(self, x: Tensor, padding: int) -> Tensor:
        if not self._reach:  # [1,1]: the mean of neighbours
            return _POOL[self.dims](x, 2)
        return _CONV[self.dims](x, self._depthwise(x, 1.0), stride=2, padding=padding, groups=x.shape[1])

    def _up(self, x: Tensor) -> Tensor:
        if not self._reach:
            return F.interpolate(x, scale_factor=2.0, mode="nearest")
        return _CONV_TRANSPOSE[self.dims](x, self._depthwise(x, 2.0**self.dims), stride=2, padding=self._reach,
                                          groups=x.shape[1])


def plus(x: Tensor, y: Tensor) -> Tensor:
    """x + y, in the memory of x, which nobody else may read, where it is of the sum's type."""
    return x.add_(y) if x.dtype == torch.result_type(x, y) else x + y


def _fill(layer: Linear | Conv, initialise: Initialise, fan_in: int, fan_out: int, gain: float, noisy_bias: bool) -> None:
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias if noisy_bias else None):
            if parameter is not None:
                initialise(parameter, fan_in, fan_out)
                parameter.mul_(gain)


def xavier_uniform(tensor: Tensor, fan_in: int, fan_out: int) -> None:
    """Uniform, of variance 2 / (fan_in + fan_out)."""
    tensor.uniform_(-1, 1).mul_(math.sqrt(6 / (fan_in + fan_out)))


def lecun_uniform(tensor: Tensor, fan_in: int, _: int) -> None:
    """Uniform, of variance 1 / (3 fan_in)."""
    tensor.uniform_(-1, 1).mul_(math.sqrt(1 / fan_in))


def unit_normal(tensor: Tensor, _: int, __: int) -> None:
    """Normal, of variance 1."""
    tensor.normal_()


class PositionalEmbedding(nn.Module):
    """Sines and cosines of n frequencies from 1 down to about 1/10000, exactly 1/10000 with `endpoint`."""

    def __init__(self, channels: int, *, endpoint: bool, sine_first: bool) -> None:
        super().__init__()
        self.count, self.steps, self.sine_first = channels // 2, channels // 2 - int(endpoint), sine_first

    def forward(self, x: Tensor) -> Tensor:
        """x float [N] -> [N,channels]."""
        exponents = torch.arange(self.count, dtype=torch.float32, device=x.device) / self.steps
        return _waves(torch.outer(x, (1 / 10000) ** exponents), self.sine_first)


class FourierEmbedding(nn.Module):
    """Sines and cosines of random frequencies, which are kept as the buffer freqs [n]."""

    freqs: Tensor

    def __init__(self, channels: int, *, scale: float = 16.0) -> None:
        super().__init__()
        self.register_buffer("freqs", torch.randn(channels // 2) * scale)

    def forward(self, x: Tensor) -> Tensor:
        """x float [N] -> [N,channels], the sines first."""
        return _waves(torch.outer(x, 2 * math.pi * self.freqs), True)


def _waves(phase: Tensor, sine_first: bool) -> Tensor:
    waves = (phase.sin(), phase.cos())
    return torch.cat(waves if sine_first else waves[::-1], dim=1)


def attend(qkv: Tensor, heads: int) -> Tensor:
    """Every place sees every other. qkv [N,3C,...] -> [N,C,...]; per head, its channels in threes: query, key, value."""
    count, channels = qkv.shape[0], qkv.shape[1] // 3
    parts = qkv.reshape(count, heads, channels // heads, 3, -1)  # [N,heads,c,3,L]
    query, key, value = parts.transpose(2, 4).unbind(3)  # [N,heads,L,c]
    found = F.scaled_dot_product_attention(query, key, value)
    return found.transpose(2, 3).reshape(count, channels, *qkv.shape[2:])
