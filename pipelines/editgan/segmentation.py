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


class PixelSampler:
    """Interpolates feature maps at some pixels of an image of `size`, exactly as F.interpolate does (align_corners off).

    What depends on the pixels alone is computed once per resolution and kept, so one sampler serves a whole optimisation.
    """

    def __init__(self, pixels: Pixels, size: tuple[int, int], upsampling: Upsampling = "bilinear") -> None:
        self.pixels, self.size, self.upsampling = pixels, size, upsampling
        self._taps: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def _axis(self, positions: Tensor, source: int, target: int) -> tuple[Tensor, Tensor]:
        """Taps int64 [P,T] along one axis and their weights float32 [P,T]."""
        if self.upsampling == "nearest":
            low = positions * source // target
            return low[:, None], torch.ones_like(low, dtype=torch.float32)[:, None]
        where = ((positions.float() + 0.5) * (source / target) - 0.5).clamp_(min=0)
        low = where.long().clamp_(max=source - 1)
        fraction = where - low
        return torch.stack([low, (low + 1).clamp_(max=source - 1)], dim=1), torch.stack([1 - fraction, fraction], dim=1)

    def taps(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Rows of a [B*height*width,C] table that make up each pixel, int64 [P,T], and their weights float32 [P,T]."""
        if (height, width) not in self._taps:
            rows, row_weights = self._axis(self.pixels.y, height, self.size[0])
            columns, column_weights = self._axis(self.pixels.x, width, self.size[1])
            table = (self.pixels.sample[:, None, None] * height + rows[:, :, None]) * width + columns[:, None, :]
            weights = row_weights[:, :, None] * column_weights[:, None, :]
            self._taps[height, width] = table.flatten(1), weights.flatten(1)
        return self._taps[height, width]

    def __call__(self, x: Tensor) -> Tensor:
        """x [B,C,h,w] -> float32 [P,C]."""
        index, weights = self.taps(x.shape[2], x.shape[3])
        table = x.permute(0, 2, 3, 1).flatten(0, 2).float()
        return F.embedding_bag(index, table, mode="sum", per_sample_weights=weights)

    def concatenated(self, features: Sequence[Tensor]) -> Tensor:
        """The features of the pixels: [P, sum of channels]."""
        return torch.cat([self(feature) for feature in features], dim=1)

    def is_fine(self, feature: Tensor) -> bool:
        """Whether a map has so many positions that its pixels are picked before the first layer, not after it."""
        return 2 * feature.shape[2] >= self.size[0]


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

    def _weights(self) -> Sequence[Tensor]:
        """The first layer's weights, one [hidden,C] per feature map."""
        return torch.split(self._linear(0).weight, list(self.feature_channels), dim=1)

    def project(self, features: Sequence[Tensor]) -> list[Tensor]:
        """The first layer, without its bias, at each native resolution: one [B,hidden,r,r] per resolution.

        features: the first so many of the generator's.
        """
        projected: dict[int, Tensor] = {}
        for feature, weight in zip(features, self._weights(), strict=False):
            y = F.conv2d(feature.float(), weight[:, :, None, None])
            r = feature.shape[2]
            projected[r] = projected[r].add_(y) if r in projected else y
        return list(projected.values())

    def finish(self, x: Tensor) -> Tensor:
        """Everything after the first linear layer's weights: x [B,hidden,P] without bias -> logits [B,classes,P].

        Overwrites x. Each BatchNorm is folded into the linear layer after it.
        """
        x = x.add_(self._linear(0).bias[:, None])
        if self.training:
            return self.layers[1:](x.movedim(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1)).movedim(2, 1)
        for batchnorm, linear in ((self._batchnorm(2), self._linear(3)), (self._batchnorm(5), self._linear(6))):
            mean, variance = cast(Tensor, batchnorm.running_mean), cast(Tensor, batchnorm.running_var)
            scale = batchnorm.weight * torch.rsqrt(variance + batchnorm.eps)
            shift = batchnorm.bias - mean * scale
            x = (linear.weight * scale) @ F.relu(x, inplace=True)
            x = x.add_((linear.bias + linear.weight @ shift)[:, None])
        return x

    def at(self, coarse: Sequence[Tensor], fine: Tensor, sampler: PixelSampler) -> Tensor:
        """Logits [P,classes] at the sampler's pixels: coarse maps are projected and then sampled, fine [P,C] was sampled
        from the remaining maps."""
        weights = torch.cat(list(self._weights()[len(coarse):]), dim=1)
        x = F.linear(fine, weights)
        for level in self.project(coarse):
            x = x.add_(sampler(level))
        return self.finish(x.t()[None])[0].t()

    def forward(self, features: Sequence[Tensor], size: tuple[int, int], upsampling: Upsampling) -> Tensor:
        """Logits [B,classes,H,W]."""
        total: Tensor | None = None
        align = False if upsampling == "bilinear" else None
        for level in self.project(features):
            y = level if tuple(level.shape[2:]) == size else F.interpolate(level, size, mode=upsampling,
                                                                           align_corners=align)
            total = y if total is None else total.add_(y)
        if total is None:
            raise InvalidInputError("The label branch got no features to classify.")
        return self.finish(total.flatten(2)).reshape(len(total), -1, *size)


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

    def at(self, features: Sequence[Tensor], sampler: PixelSampler) -> Tensor:
        """Mean logits float32 [P,classes] at the sampler's pixels; nothing else is computed."""
        self._check(features)
        coarse = [f for f in features[:-1] if not sampler.is_fine(f)]
        fine = sampler.concatenated(features[len(coarse):])
        return torch.stack([member.at(coarse, fine, sampler) for member in self.classifiers()]).mean(dim=0)

    def label_ids(self, features: Sequence[Tensor], size: tuple[int, int] | None = None,
                  upsampling: Upsampling = "bilinear") -> Tensor:
        """Label ids uint8 [B,H,W]."""
        return self(features, size, upsampling).argmax(dim=1).to(torch.uint8)


def vote(segmenter: Segmenter, features: Sequence[Tensor], size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    """What the members say and how far they agree, each run once: mean logits float32 [B,classes,H,W], equal to those of
    `Segmenter.forward`, and `disagreement` [B,H,W]."""
    size = size or (int(features[-1].shape[2]), int(features[-1].shape[3]))
    logits: Tensor | None = None
    mean: Tensor | None = None
    within: Tensor | None = None
    members = segmenter.classifiers()
    for member in members:
        answer: Tensor = member(features, size, "bilinear")
        log_p = F.log_softmax(answer, dim=1)
        p = log_p.exp()
        entropy = -(p * log_p).sum(dim=1)
        logits = answer if logits is None else logits + answer
        mean = p if mean is None else mean + p
        within = entropy if within is None else within + entropy
    if logits is None or mean is None or within is None:
        raise InvalidInputError("This label branch has no members.")
    mean = mean / len(members)
    between = -(mean * mean.clamp(min=torch.finfo(mean.dtype).tiny).log()).sum(dim=1)
    return logits / len(members), (between - within / len(members)).clamp(min=0)


def disagreement(segmenter: Segmenter, features: Sequence[Tensor], size: tuple[int, int] | None = None) -> Tensor:
    """How much the members disagree at each pixel, float32 [B,H,W], 0..ln(members).

    The Jensen-Shannon divergence of their label distributions, in nats: the entropy of the mean minus the mean of the
    entropies (DatasetGAN, section 3.3; Beluch et al. 2018). Members run one after another.
    """
    return vote(segmenter, features, size)[1]
