"""The label branch: an ensemble of per-pixel classifiers on the features of every synthesis layer (EditGAN, DatasetGAN).

Each member is Linear-ReLU-BatchNorm twice and a last Linear over the concatenated, upsampled features of one pixel.
Interpolation and the first linear layer commute, so the layer is applied to every feature map at its own resolution
and its outputs are upsampled and added: equal to concatenating thousands of upsampled channels, without ever building
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import InvalidInputError

Upsampling = Literal["bilinear", "nearest"]


class Pixels(NamedTuple):
    """Pixels of a batch of images: int64 [P] each, in range of the output size."""

    sample: Tensor
    y: Tensor
    x: Tensor


def pixels_of(mask: Tensor) -> Pixels:
    """The true pixels of a mask bool [B,H,W], sample by sample, row by row."""
    return Pixels(*mask.nonzero().unbind(dim=1))


def hidden_sizes(num_classes: int) -> tuple[int, int]:
    """The widths of the official classifiers: 128 and 32, or 256 and 128 from 32 classes on."""
    return (128, 32) if num_classes < 32 else (256, 128)


def _sample_nearest(x: Tensor, pixels: Pixels, size: tuple[int, int]) -> Tensor:
    rows, columns = (p * r // n for p, r, n in zip(pixels[1:], x.shape[2:], size, strict=True))
    return x.permute(0, 2, 3, 1)[pixels.sample, rows, columns]


def _sample_bilinear(x: Tensor, pixels: Pixels, size: tuple[int, int]) -> Tensor:
    """x [B,C,h,w] interpolated at pixel centres of an image of `size`, as F.interpolate does: [P,C]."""
    low: list[Tensor] = []
    high: list[Tensor] = []
    fraction: list[Tensor] = []
    for p, r, n in zip(pixels[1:], x.shape[2:], size, strict=True):
        source = ((p.to(x.dtype) + 0.5) * (r / n) - 0.5).clamp_(min=0)
        low.append(source.long().clamp_(max=r - 1))
        high.append((low[-1] + 1).clamp_(max=r - 1))
        fraction.append((source - low[-1])[:, None])
    grid = x.permute(0, 2, 3, 1)
    top = grid[pixels.sample, low[0], low[1]].lerp(grid[pixels.sample, low[0], high[1]], fraction[1])
    bottom = grid[pixels.sample, high[0], low[1]].lerp(grid[pixels.sample, high[0], high[1]], fraction[1])
    return top.lerp(bottom, fraction[0])


def sample_features(features: Sequence[Tensor], pixels: Pixels, size: tuple[int, int]) -> Tensor:
    """The concatenated, bilinearly upsampled features of a few pixels: [P, sum of channels]."""
    return torch.cat([_sample_bilinear(feature, pixels, size) for feature in features], dim=1)


class PixelClassifier(nn.Module):
    """One member. The names of its parameters are the official ones: `layers.0`, `layers.2` (BatchNorm), ..."""

    def __init__(self, feature_channels: Sequence[int], num_classes: int, hidden: tuple[int, int]) -> None:
        super().__init__()
        self.feature_channels = tuple(feature_channels)
        self.layers = nn.Sequential(
            nn.Linear(sum(feature_channels), hidden[0]), nn.ReLU(), nn.BatchNorm1d(hidden[0]),
            nn.Linear(hidden[0], hidden[1]), nn.ReLU(), nn.BatchNorm1d(hidden[1]),
            nn.Linear(hidden[1], num_classes))

    def _linear(self, index: int) -> nn.Linear:
        return cast(nn.Linear, self.layers[index])

    def _batchnorm(self, index: int) -> nn.BatchNorm1d:
        return cast(nn.BatchNorm1d, self.layers[index])

    def project(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The first layer, without its bias, at each native resolution: one [B,hidden,r,r] per resolution."""
        weights = torch.split(self._linear(0).weight, list(self.feature_channels), dim=1)
        projected: dict[int, Tensor] = {}
        for feature, weight in zip(features, weights, strict=True):
            y = F.conv2d(feature.float(), weight[:, :, None, None])
            r = feature.shape[2]
            projected[r] = projected[r] + y if r in projected else y
        return list(projected.values())

    def finish(self, x: Tensor) -> Tensor:
        """Everything after the first linear layer's weights: x [P,hidden] without bias -> logits [P,classes]."""
        x = x + self._linear(0).bias
        if self.training:
            return self.layers[1:](x)
        for batchnorm, linear in ((self._batchnorm(2), self._linear(3)), (self._batchnorm(5), self._linear(6))):
            mean, variance = cast(Tensor, batchnorm.running_mean), cast(Tensor, batchnorm.running_var)
            scale = batchnorm.weight * torch.rsqrt(variance + batchnorm.eps)
            shift = batchnorm.bias - mean * scale
            x = torch.addmm(linear.bias + linear.weight @ shift, F.relu(x), (linear.weight * scale).t())
        return x

    def at(self, features: Sequence[Tensor], pixels: Pixels, size: tuple[int, int], upsampling: Upsampling) -> Tensor:
        """Logits [P,classes] at the given pixels only."""
        sample = _sample_bilinear if upsampling == "bilinear" else _sample_nearest
        levels = [sample(level, pixels, size) for level in self.project(features)]
        return self.finish(torch.stack(levels).sum(dim=0))

    def forward(self, features: Sequence[Tensor], size: tuple[int, int], upsampling: Upsampling) -> Tensor:
        """Logits [B,classes,H,W]."""
        total: Tensor | None = None
        align = False if upsampling == "bilinear" else None
        for level in self.project(features):
            y = level if tuple(level.shape[2:]) == size else F.interpolate(level, size, mode=upsampling,
                                                                           align_corners=align)
            total = y if total is None else total + y
        if total is None:
            raise InvalidInputError("The label branch got no features to classify.")
        logits = self.finish(total.permute(0, 2, 3, 1).flatten(0, 2))
        return logits.reshape(total.shape[0], *size, logits.shape[1]).permute(0, 3, 1, 2)


class Segmenter(nn.Module):
    """Ensemble of pixel classifiers; the label map is the argmax of the mean logits.

    feature_channels: channels of each entry of the generator's feature list, in its order; hidden: widths of the two
    hidden layers; members: size of the ensemble.
    """

    def __init__(self, *, feature_channels: Sequence[int], num_classes: int, hidden: tuple[int, int] | None = None,
                 members: int = 10) -> None:
        super().__init__()
        hidden = hidden or hidden_sizes(num_classes)
        self.feature_channels, self.num_classes = tuple(feature_channels), num_classes
        self.members = nn.ModuleList(PixelClassifier(feature_channels, num_classes, hidden) for _ in range(members))

    def classifiers(self) -> list[PixelClassifier]:
        """The members, by their type."""
        return [cast(PixelClassifier, member) for member in self.members]

    def _check(self, features: Sequence[Tensor]) -> None:
        found = tuple(f.shape[1] for f in features)
        if found != self.feature_channels:
            raise InvalidInputError(
                f"This label branch was trained on features of {list(self.feature_channels)} channels and got "
                f"{list(found)}; load the generator it was trained with.")

    def forward(self, features: Sequence[Tensor], size: tuple[int, int] | None = None,
                upsampling: Upsampling = "bilinear") -> Tensor:
        """Mean logits float32 [B,classes,H,W] from the features of `SynthesisNetwork.forward`.

        size defaults to the largest feature map. Members run one after another: memory is that of one.
        """
        self._check(features)
        size = size or (int(features[-1].shape[2]), int(features[-1].shape[3]))
        total: Tensor | None = None
        for member in self.classifiers():
            logits: Tensor = member(features, size, upsampling)
            total = logits if total is None else total + logits
        if total is None:
            raise InvalidInputError("This label branch has no members.")
        return total / len(self.members)

    def at(self, features: Sequence[Tensor], pixels: Pixels, size: tuple[int, int],
           upsampling: Upsampling = "bilinear") -> Tensor:
        """Mean logits float32 [P,classes] at `pixels` of an output of `size`; nothing else is computed."""
        self._check(features)
        logits = [member.at(features, pixels, size, upsampling) for member in self.classifiers()]
        return torch.stack(logits).mean(dim=0)

    def label_ids(self, features: Sequence[Tensor], size: tuple[int, int] | None = None,
                  upsampling: Upsampling = "bilinear") -> Tensor:
        """Label ids uint8 [B,H,W]."""
        return self(features, size, upsampling).argmax(dim=1).to(torch.uint8)
