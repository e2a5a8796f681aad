"""The published encoders to W+: pSp, e4e, ReStyle (one body, many heads) and EditGAN's feature pyramid.

pSp: Richardson et al. 2021. e4e: Tov et al. 2021. ReStyle: Alaluf et al. 2021. EditGAN: Ling et al. 2021. Modules are named
as in the official files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..ir_se import input_layer, ir_se_body
from ..stylegan2.generator import Generator
from ..stylegan2.ops import Linear

SIDE = 256
"""The side that pSp, e4e and ReStyle scale pictures to."""
COARSE, MIDDLE = 3, 7
"""First rows of W+ that come from the middle and from the fine level of a pyramid."""
RESTYLE_STEPS = 5
LEVELS = ((4, 5), (5, 6), (6, 7))
"""Halvings per head at the coarse, middle and fine level: of pSp and e4e, of EditGAN's encoder."""


class StyleHead(nn.Module):
    """Convolutions that halve a map until one pixel is left, then a linear layer: one row of W+."""

    def __init__(self, channels: int, w_dim: int, halvings: int, *, equalized: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(halvings):
            layers += [nn.Conv2d(channels, channels, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = Linear(channels, w_dim) if equalized else nn.Linear(channels, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convs(x)
        if tuple(x.shape[2:]) != (1, 1):
            raise InvalidInputError(f"The picture is too large for this encoder: {list(x.shape[2:])} pixels are left where one "
                                    f"should be; scale it down.")
        return self.linear(x.flatten(1))


class PlainUnit(nn.Module):
    """The residual unit of ResNet-34."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = None if stride == 1 and channels_in == channels else nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def _resnet34_body(width: int) -> nn.Sequential:
    units: list[nn.Module] = []
    before = width
    for stage, count in enumerate((3, 4, 6, 3)):
        channels = width << stage
        units += [PlainUnit(before if i == 0 else channels, channels, 2 if i == 0 and stage else 1) for i in range(count)]
        before = channels
    return nn.Sequential(*units)


class StyleEncoder(nn.Module):
    """The encoder of pSp, e4e and ReStyle: codes are the average w plus what the heads give.

    body: 'ir_se50', or 'resnet34' as ReStyle takes off faces. pyramid: heads read three levels (pSp, e4e) instead of the
    last one (ReStyle). progressive: rows are offsets from the first (e4e). in_channels: 3, or 6 for ReStyle, which sees the
    picture and its present reconstruction; use `restyle` then. rows: the rows [first, behind the last] of the scaled picture
    that it sees, for cars. width: channels of the first stage, 64 in the published networks.
    """

    w_avg: Tensor

    def __init__(self, *, num_ws: int, w_dim: int = 512, width: int = 64, in_channels: int = 3, body: str = "ir_se50",
                 pyramid: bool = True, progressive: bool = False, rows: Sequence[int] | None = None) -> None:
        super().__init__()
        self.num_ws, self.w_dim, self.in_channels = num_ws, w_dim, in_channels
        self.pyramid, self.progressive, self.rows = pyramid, progressive, rows
        last = width * 8
        if body == "ir_se50":
            self.input_layer = input_layer(in_channels, width)
            self.body = ir_se_body(width)
        else:
            self.conv1 = nn.Conv2d(in_channels, width, 7, 2, 3, bias=False)
            self.bn1, self.relu = nn.BatchNorm2d(width), nn.PReLU(width)
            self.body = _resnet34_body(width)
        halvings = [LEVELS[(i >= COARSE) + (i >= MIDDLE) if pyramid else 0][0] for i in range(num_ws)]
        self.styles = nn.ModuleList(StyleHead(last, w_dim, count, equalized=True) for count in halvings)
        if pyramid:
            self.latlayer1, self.latlayer2 = nn.Conv2d(width * 4, last, 1), nn.Conv2d(width * 2, last, 1)
        self.register_buffer("w_avg", torch.zeros(num_ws, w_dim))

    def scaled(self, images: Tensor) -> Tensor:
        """Pictures [B,3,H,W] as the network sees them: [B,3,256,256], or the rows of it that hold the content."""
        images = F.interpolate(images, (SIDE, SIDE), mode="area")
        return images if self.rows is None else images[:, :, self.rows[0]:self.rows[1]]

    def offsets(self, x: Tensor) -> Tensor:
        """Scaled pictures float32 [B,in_channels,h,w] in -1..1 -> offsets from the average (or present) codes."""
        levels = self._levels(x)
        found = [head(levels[(i >= COARSE) + (i >= MIDDLE)]) for i, head in enumerate(self.styles)]
        if self.progressive:
            found = [found[0], *(found[0] + row for row in found[1:])]
        return torch.stack(found, dim=1)

    def _levels(self, x: Tensor) -> list[Tensor]:
        if hasattr(self, "input_layer"):
            x, ends = self.input_layer(x), (6, 20, 23)
        else:
            x, ends = self.relu(self.bn1(self.conv1(x))), (6, 12, 15)
        maps: list[Tensor] = []
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in ends:
                maps.append(x)
        fine, middle, coarse = maps
        if not self.pyramid:
            return [coarse] * 3
        second = _enlarged(coarse, middle, corners=True) + self.latlayer1(middle)
        return [coarse, second, _enlarged(second, fine, corners=True) + self.latlayer2(fine)]

    def forward(self, images: Tensor) -> Tensor:
        """images float32 [B,3,H,W] in -1..1 -> W+ codes float32 [B,num_ws,w_dim]."""
        return self.w_avg + self.offsets(self.scaled(images))


def _enlarged(x: Tensor, like: Tensor, *, corners: bool) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear", align_corners=corners)


def restyle(encoder: StyleEncoder, generator: Generator, images: Tensor, *, steps: int = RESTYLE_STEPS) -> Tensor:
    """Codes [B,num_ws,w_dim] of images [B,3,H,W] in -1..1: each step sees the present reconstruction and improves the codes."""
    x, codes = encoder.scaled(images), encoder.w_avg.expand(len(images), -1, -1)
    for _ in range(steps):
        drawn = encoder.scaled(generator.synthesis(codes)[0])
        codes = codes + encoder.offsets(torch.cat([x, drawn], dim=1))
    return codes


def embedder(encoder: nn.Module, generator: Generator) -> Callable[[Tensor], Tensor]:
    """Pictures [B,3,H,W] in -1..1 -> codes of the generator, whichever encoder it is. Raises InvalidInputError when the two
    disagree on the shape of W+."""
    theirs, ours = (encoder.num_ws, encoder.w_dim), (generator.num_ws, generator.w_dim)
    if theirs != ours:
        raise InvalidInputError(f"The encoder gives W+ codes {list(cast('tuple[int, int]', theirs))}, the generator takes "
                                f"{list(ours)}; choose the encoder that goes with this generator.")
    if isinstance(encoder, StyleEncoder) and encoder.in_channels > 3:
        return lambda images: restyle(encoder, generator, images)
    return encoder


class Bottleneck(nn.Module):
    """The residual unit of ResNet-50."""

    def __init__(self, channels_in: int, planes: int, stride: int) -> None:
        super().__init__()
        out = planes * 4
        self.conv1 = nn.Conv2d(channels_in, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential() if stride == 1 and channels_in == out else nn.Sequential(
            nn.Conv2d(channels_in, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class FeaturePyramid(nn.Module):
    """ResNet-50 with a top-down pathway: maps at 1/16, 1/8 and 1/4 of the size."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        before = width
        for stage, count in enumerate((3, 4, 6, 3)):
            planes = width << stage
            self.add_module(f"layer{stage + 1}", nn.Sequential(*(
                Bottleneck(before if i == 0 else planes * 4, planes, 2 if i == 0 and stage else 1) for i in range(count))))
            before = planes * 4
        self.toplayer = nn.Conv2d(before, features, 1)
        self.smooth1, self.smooth2, self.smooth3 = (nn.Conv2d(features, features, 3, 1, 1) for _ in range(3))
        self.latlayer1, self.latlayer2, self.latlayer3 = (nn.Conv2d(before >> i, features, 1) for i in (1, 2, 3))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 2, 1)
        maps: list[Tensor] = []
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
            maps.append(x)
        p5 = self.toplayer(maps[3])
        p4 = _enlarged(p5, maps[2], corners=False) + self.latlayer1(maps[2])
        p3 = _enlarged(p4, maps[1], corners=False) + self.latlayer2(maps[1])
        p2 = _enlarged(p3, maps[0], corners=False) + self.latlayer3(maps[0])
        return self.smooth1(p4), self.smooth2(p3), self.smooth3(p2)


class PyramidEncoder(nn.Module):
    """EditGAN's encoder: a feature pyramid and one head per row of W+. It gives absolute codes.

    width: channels of the stem, 64 in the published network. features: of the pyramid, 512 in it. It reads pictures of at
    most 512x512 pixels.
    """

    def __init__(self, *, num_ws: int, w_dim: int = 512, width: int = 64, features: int = 512) -> None:
        super().__init__()
        self.num_ws, self.w_dim = num_ws, w_dim
        self.FPN_module = FeaturePyramid(width, features)
        counts = (COARSE, MIDDLE - COARSE, num_ws - MIDDLE)
        self.course_styles, self.medium_styles, self.fine_styles = (
            nn.ModuleList(StyleHead(features, w_dim, level[1], equalized=False) for _ in range(count))
            for count, level in zip(counts, LEVELS, strict=True))

    def forward(self, images: Tensor) -> Tensor:
        """images float32 [B,3,H,W] in -1..1 -> W+ codes float32 [B,num_ws,w_dim]."""
        groups = (self.course_styles, self.medium_styles, self.fine_styles)
        rows = [head(level) for level, heads in zip(self.FPN_module(images), groups, strict=True) for head in heads]
        return torch.stack(rows, dim=1)
