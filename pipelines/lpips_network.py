"""LPIPS (Zhang et al. 2018, version 0.1) as a perceptual loss that encodes its target once.

The parameters carry the names of the lpips package, so that its files and torchvision's backbones fit; nothing here
downloads anything.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import InvalidInputError
from .perceptual import DiscriminatorDistance, Features, PerceptualLoss
from .stylegan2.discriminator import Discriminator

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
EPS = 1e-10
SQUARE_EPS = 1e-20
"""Under the root: the norm of an all-zero feature keeps a gradient, where the package's is not a number."""

Row = tuple[int, int, int, int, int]
"""Convolution: inputs, outputs, kernel, stride, padding."""

VGG: dict[int, Row | str] = {
    0: (3, 64, 3, 1, 1), 2: (64, 64, 3, 1, 1), 4: "pool", 5: (64, 128, 3, 1, 1), 7: (128, 128, 3, 1, 1), 9: "pool",
    10: (128, 256, 3, 1, 1), 12: (256, 256, 3, 1, 1), 14: (256, 256, 3, 1, 1), 16: "pool", 17: (256, 512, 3, 1, 1),
    19: (512, 512, 3, 1, 1), 21: (512, 512, 3, 1, 1), 23: "pool", 24: (512, 512, 3, 1, 1), 26: (512, 512, 3, 1, 1),
    28: (512, 512, 3, 1, 1)}
ALEX: dict[int, Row | str] = {
    0: (3, 64, 11, 4, 2), 2: "pool", 3: (64, 192, 5, 1, 2), 5: "pool", 6: (192, 384, 3, 1, 1), 8: (384, 256, 3, 1, 1),
    10: (256, 256, 3, 1, 1)}
SQUEEZE: dict[int, Row | str] = {
    0: (3, 64, 3, 2, 0), 2: "pool", 3: "fire 64 16 64", 4: "fire 128 16 64", 5: "pool", 6: "fire 128 32 128",
    7: "fire 256 32 128", 8: "pool", 9: "fire 256 48 192", 10: "fire 384 48 192", 11: "fire 384 64 256",
    12: "fire 512 64 256"}

NETS = {"vgg": (VGG, (4, 9, 16, 23, 30)), "alex": (ALEX, (2, 5, 8, 10, 12)), "squeeze": (SQUEEZE, (2, 5, 8, 10, 11, 12, 13))}
"""Layers by their index in torchvision's `features`, and where each slice ends."""

CHANNELS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256),
            "squeeze": (64, 128, 256, 384, 384, 512, 512)}


class Fire(nn.Module):
    """SqueezeNet's module: squeeze to few channels, expand by 1x1 and 3x3 side by side."""

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x), inplace=True)
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], dim=1)


def _slices(net: str) -> nn.Module:
    """slice1, slice2, ...: the layers with parameters and the pools, under torchvision's indices."""
    layers, ends = NETS[net]
    pool = 2 if net == "vgg" else 3
    whole, start = nn.Module(), 0
    for number, end in enumerate(ends, start=1):
        part = nn.Sequential()
        for index in range(start, end):
            row = layers.get(index)
            if row is None:
                continue
            if row == "pool":
                part.add_module(str(index), nn.MaxPool2d(pool, 2, ceil_mode=net == "squeeze"))
            elif isinstance(row, str):
                part.add_module(str(index), Fire(*map(int, row.split()[1:])))
            else:
                inputs, outputs, kernel, stride, padding = row
                part.add_module(str(index), nn.Conv2d(inputs, outputs, kernel, stride, padding))
        whole.add_module(f"slice{number}", part)
        start = end
    return whole


class LPIPS(nn.Module):
    """net: 'vgg', 'alex' or 'squeeze'. Activations are computed in the dtype of the weights, distances in float32."""

    def __init__(self, net: str) -> None:
        super().__init__()
        if net not in NETS:
            raise InvalidInputError(f"LPIPS knows the backbones {', '.join(NETS)}, not '{net}'.")
        self.net_type = net
        self.net = _slices(net)
        for i, channels in enumerate(CHANNELS[net]):
            head = nn.Module()
            head.model = nn.Sequential(nn.Identity(), nn.Conv2d(channels, 1, 1, bias=False))
            self.add_module(f"lin{i}", head)
        self.register_buffer("shift", torch.tensor(SHIFT)[None, :, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[None, :, None, None], persistent=False)

    def heads(self) -> list[Tensor]:
        """The learned weights of the channels, [C] per level."""
        levels = range(len(CHANNELS[self.net_type]))
        return [self.get_parameter(f"lin{i}.model.1.weight").flatten() for i in levels]

    def features(self, images: Tensor) -> Features:
        """Unit-length features of images float32 [B,3,H,W] in -1..1, one [B,C,h,w] per level."""
        dtype = self.get_parameter("lin0.model.1.weight").dtype
        x = (images - cast(Tensor, self.shift)) / cast(Tensor, self.scale)
        x = x.to(dtype).contiguous(memory_format=torch.channels_last)
        levels: list[Tensor] = []
        for part in self.net.children():
            for layer in part.children():
                x = layer(x)
                if isinstance(layer, nn.Conv2d):
                    x = F.relu(x, inplace=True)
            y = x.float()
            levels.append(y / ((y.square().sum(dim=1, keepdim=True) + SQUARE_EPS).sqrt() + EPS))
        return levels

    def distance(self, a: Features, b: Features) -> Tensor:
        """[B], zero for equal pictures."""
        total = a[0].new_zeros(len(a[0]))
        for x, y, head in zip(a, b, self.heads(), strict=True):
            total = total + torch.einsum("bchw,c->b", (x - y).square(), head.float()) / (x.shape[2] * x.shape[3])
        return total

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Distance [B] of images float32 [B,3,H,W] in -1..1."""
        return self.distance(self.features(a), self.features(b))


def distance_of(network: nn.Module) -> PerceptualLoss:
    """The perceptual distance that a network stands for: LPIPS is one, a discriminator lends its features."""
    return network if isinstance(network, LPIPS) else DiscriminatorDistance(cast(Discriminator, network))
