"""What a result is worth: mIoU, PSNR, identity."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from .errors import InvalidInputError
from .labels import LabelMap, require_same_labels

LARGEST_PSNR = 100.0
"""dB that equal pictures are given."""


@dataclass(frozen=True)
class LabelScore:
    """mean: of the labels that occur in either map. per_label: intersection over union, NaN where it occurs in none.
    accuracy: share of equal pixels."""

    mean: float
    per_label: Tensor
    accuracy: float


def label_score(found: LabelMap, truth: LabelMap) -> LabelScore:
    """Intersection over union of two label maps, counted over all pixels of the batch."""
    require_same_labels(found.labels, truth.labels, "The two label maps to compare")
    if found.ids.shape != truth.ids.shape:
        raise InvalidInputError(f"The label maps to compare differ in shape: {list(found.ids.shape)} and "
                                f"{list(truth.ids.shape)} (pictures, height, width).")
    count = len(truth.labels)
    pairs = found.ids.flatten().long() * count + truth.ids.flatten().long().to(found.ids.device)
    table = torch.bincount(pairs, minlength=count * count).view(count, count).double().cpu()
    both = table.diagonal()
    per_label = both / (table.sum(dim=0) + table.sum(dim=1) - both)
    present = per_label[~per_label.isnan()]
    return LabelScore(float(present.mean()), per_label, float(both.sum() / table.sum()))


def psnr(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """dB per picture [B] of pictures float [B,H,W,C] 0..1, over the pixels where mask [B or 1,H,W] is above 0.5."""
    if a.shape != b.shape:
        raise InvalidInputError(f"The pictures to compare differ in shape: {list(a.shape)} and {list(b.shape)}.")
    error = (a.double().clamp(0, 1) - b.double().clamp(0, 1)).square().mean(dim=3)
    weight = torch.ones_like(error)
    if mask is not None:
        if tuple(mask.shape[1:]) != tuple(error.shape[1:]) or len(mask) not in (1, len(error)):
            raise InvalidInputError(f"The mask is {list(mask.shape)}, the pictures to compare are {list(error.shape)} "
                                    f"(pictures, height, width).")
        weight = (mask > 0.5).double().expand_as(error)
    pixels = weight.flatten(1).sum(dim=1)
    if bool((pixels == 0).any()):
        raise InvalidInputError("The mask leaves no pixel to compare; invert or enlarge it.")
    mean = (error * weight).flatten(1).sum(dim=1) / pixels
    return (-10 * mean.clamp(min=1e-30).log10()).clamp(max=LARGEST_PSNR)


def identity_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Cosine [B] of embeddings [B,D]: 1 for the same person, about 0 for strangers."""
    return F.cosine_similarity(a, b, dim=1)
