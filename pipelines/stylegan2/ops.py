"""The operators of StyleGAN2 in plain PyTorch, arranged for speed without compiled code.

Two rearrangements carry it. A modulated convolution scales the activations by the style before, and by the
demodulation coefficient after, one ordinary convolution: sum_i w_oi (s_i x_i) d_o. No per-sample weights are built, and
backward forms no weight gradient when the weights are frozen, which is the case in every edit. And the [1,3,3,1]
resampling filter runs as a depthwise convolution in channels_last. (Karras et al. 2020, sections 2.2 and B.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LRELU_SLOPE = 0.2
LRELU_GAIN = math.sqrt(2.0)
DEMODULATION_EPS = 1e-8


def resample_filter() -> Tensor:
    """The separable [1,3,3,1] low-pass filter, float32 [4,4], sum 1."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def normalize_second_moment(x: Tensor) -> Tensor:
    """x [B,C] scaled to unit mean square per row."""
    return x * (x.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


def _depthwise(kernel: Tensor, x: Tensor, gain: float) -> Tensor:
    return (kernel * gain).to(x.dtype).expand(x.shape[1], 1, -1, -1)


def blur(x: Tensor, kernel: Tensor, *, padding: int, gain: float = 1.0) -> Tensor:
    """x [B,C,H,W] filtered channel by channel with a symmetric 4x4 kernel."""
    return F.conv2d(x, _depthwise(kernel, x, gain), padding=padding, groups=x.shape[1])


def upsample(x: Tensor, kernel: Tensor) -> Tensor:
    """x [B,C,H,W] -> [B,C,2H,2W]: zero insertion and filter, the kernel's gain 4 restoring the level."""
    return F.conv_transpose2d(x, _depthwise(kernel, x, 4.0), stride=2, padding=1, groups=x.shape[1])


def downsample(x: Tensor, kernel: Tensor) -> Tensor:
    """x [B,C,H,W] -> [B,C,H/2,W/2]. Filters everywhere and drops three of four: the strided form is slow backwards."""
    return blur(x, kernel, padding=1)[:, :, ::2, ::2]


def activate(x: Tensor, bias: Tensor, *, scale: Tensor | None = None, noise: Tensor | None = None,
             gain: float = LRELU_GAIN, clamp: float | None = None) -> Tensor:
    """gain * leaky_relu(x * scale + noise + bias), clamped to +-clamp, in as few passes over x as it takes.

    x [B,C,H,W]; bias [C]; scale [B,C] or None; noise broadcastable to [B,1,H,W] or None. A leaky ReLU is positively
    homogeneous, so the gain goes into the operands. x is only read; noise and activation work in place on the new tensor.
    """
    shift = (bias * gain).to(x.dtype).view(1, -1, 1, 1)
    if scale is None:
        x = torch.add(shift, x, alpha=gain)
    else:
        x = torch.addcmul(shift, x, (scale * gain).to(x.dtype)[:, :, None, None])
    if noise is not None:
        x = x.add_((noise * gain).to(x.dtype))
    x = F.leaky_relu_(x, LRELU_SLOPE)
    return x if clamp is None else x.clamp(-clamp, clamp)


class FrozenCache:
    """Values derived from a parameter, kept while it is frozen and unchanged.

    The version counter of the parameter tells an in-place change (EMA, load_state_dict) from none; a parameter that
    is being trained, or that has no counter (made in inference mode), is never cached.
    """

    def __init__(self) -> None:
        self._values: dict[str, tuple[tuple[int, int, torch.device], Tensor]] = {}

    def __call__(self, name: str, parameter: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        if parameter.requires_grad or parameter.is_inference():
            return compute(parameter)
        state = (parameter.data_ptr(), parameter._version, parameter.device)
        held = self._values.get(name)
        if held is not None and held[0] == state:
            return held[1]
        with torch.inference_mode(False), torch.no_grad():
            value = compute(parameter)
        self._values[name] = (state, value)
        return value

    def __deepcopy__(self, memo: object) -> FrozenCache:
        return FrozenCache()

    def __reduce__(self) -> tuple[type[FrozenCache], tuple[()]]:
        return FrozenCache, ()


class Linear(nn.Module):
    """Equalised-learning-rate linear layer: y = x (W g)^T + b lr, g = lr / sqrt(in). x [B,in] -> [B,out]."""

    def __init__(self, in_features: int, out_features: int, *, bias_init: float = 0.0, lr_multiplier: float = 1.0,
                 activation: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias * self.bias_gain if self.bias_gain != 1.0 else self.bias
        y = torch.addmm(bias, x, self.weight.t(), alpha=self.weight_gain)
        return F.leaky_relu(y, LRELU_SLOPE) * LRELU_GAIN if self.activation else y


class Conv2d(nn.Module):
    """Equalised-learning-rate convolution with optional 2x down- or upsampling through the filter.

    x [B,in,H,W] -> [B,out,H',W'] with H' = H, H/2 (down) or 2H (up).
    """

    resample_filter: Tensor

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True,
                 activation: bool = True, up: bool = False, down: bool = False,
                 conv_clamp: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", resample_filter())
        self.weight_gain = 1 / math.sqrt(in_channels * kernel_size**2)
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:
        pad = self.weight.shape[-1] // 2
        weight = (self.weight * (self.weight_gain if self.bias is not None else self.weight_gain * gain)).to(x.dtype)
        if self.down and pad:
            x = F.conv2d(blur(x, self.resample_filter, padding=2), weight, stride=2)
        elif self.down:
            x = F.conv2d(downsample(x, self.resample_filter), weight)
        else:
            x = F.conv2d(x, weight, padding=pad)
            if self.up:
                x = upsample(x, self.resample_filter)
        clamp = None if self.conv_clamp is None else self.conv_clamp * gain
        if self.bias is None:
            return x if clamp is None else x.clamp(-clamp, clamp)
        if self.activation:
            return activate(x, self.bias, gain=LRELU_GAIN * gain, clamp=clamp)
        x = (x + self.bias.to(x.dtype).view(1, -1, 1, 1)) * gain
        return x if clamp is None else x.clamp(-clamp, clamp)
