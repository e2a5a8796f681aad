"""Edit optimisation: the W+ change that realises a new label map inside a region and keeps the picture outside.

    L(dw) = rgb (perceptual P + mse M) outside r  +  cross_entropy CE inside r  +  encoder ||w - E(G(w))||^2

r is the dilated union of the pixels whose old or new label is edited (EditGAN, section 3.3, eqs. 1-3).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..perceptual import PerceptualLoss
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator
from .segmentation import PixelSampler, Segmenter, Upsampling, pixels_of

Encode = Callable[[Tensor], Tensor]
"""Images float32 [B,3,R,R] in -1..1 -> W+ codes."""


@dataclass(frozen=True)
class EditSettings:
    """steps: Adam updates. lr: rate. rgb: weight of everything outside the region; perceptual, mse: weights within it
    (mse on images in 0..1, mean over the whole picture). cross_entropy: weight inside the region. encoder: weight of
    the pull towards the encoder's code of the current picture. upsampling: of the label branch's features. rows: first
    and last W+ row optimised, None for all. keep: the codes of the lowest loss, or of the last update, as the official
    tool returns."""

    steps: int = 60
    lr: float = 0.02
    rgb: float = 15.0
    perceptual: float = 10.0
    mse: float = 5.0
    cross_entropy: float = 1.0
    encoder: float = 0.0
    upsampling: Upsampling = "bilinear"
    rows: tuple[int, int] | None = None
    keep: Literal["best", "last"] = "best"


@dataclass(frozen=True)
class Edit:
    """delta float32 [B,num_ws,w_dim]: edited codes minus start; loss [B] and step [B] of what was kept (step s is the
    state after s updates); curve [evaluations,B]."""

    delta: Tensor
    loss: Tensor
    step: Tensor
    curve: Tensor


def dilate(mask: Tensor, pixels: int) -> Tensor:
    """bool [B,H,W] grown by `pixels` with a square 3x3 element, nothing entering from outside the picture."""
    if pixels <= 0:
        return mask
    grown = F.max_pool2d(mask[:, None].float(), 2 * pixels + 1, stride=1, padding=pixels)
    return grown[:, 0] > 0.5


def edit_region(before: Tensor, after: Tensor, edited: Collection[int] | None = None, *, dilation: int = 3) -> Tensor:
    """r = {p : before_p in Q or after_p in Q}, dilated. before, after uint8 [B,H,W]; edited: the ids of Q_edit.

    Without `edited`, r is the pixels whose label changed, dilated: what a brush touched, as in the official tool.
    """
    if before.shape != after.shape:
        raise InvalidInputError(f"The label maps before and after the edit differ in shape: {list(before.shape)} and "
                                f"{list(after.shape)}.")
    if edited is None:
        return dilate(before != after, dilation)
    ids = torch.tensor(sorted(edited), dtype=before.dtype, device=before.device)
    return dilate(torch.isin(before, ids) | torch.isin(after, ids), dilation)


class EditLoss:
    """The loss above as a function of the codes, with everything that does not depend on them computed once.

    start [B,num_ws,w_dim]; target uint8 [B,H,W]; region bool [B,H,W]. The picture to keep is the generator's own
    rendering of `start`, not the photograph.
    """

    def __init__(self, generator: Generator, segmenter: Segmenter, perceptual: PerceptualLoss, start: Tensor,
                 target: Tensor, region: Tensor, settings: EditSettings, encode: Encode | None = None) -> None:
        size = (generator.resolution, generator.resolution)
        if target.shape != region.shape or tuple(target.shape) != (len(start), *size):
            raise InvalidInputError(f"The label map and the region of this edit are [{len(start)},{size[0]},{size[1]}], "
                                    f"got {list(target.shape)} and {list(region.shape)}.")
        empty = cast(list[int], (~region.flatten(1).any(dim=1)).nonzero().flatten().tolist())
        if empty:
            raise InvalidInputError(f"The edit changes nothing: the label maps before and after are equal in picture "
                                    f"{empty[0] + 1}; change the map first.")
        self.generator, self.segmenter, self.perceptual, self.encode = generator, segmenter, perceptual, encode
        self.settings = settings
        self.outside = (~region)[:, None].float()
        self.sampler = PixelSampler(pixels_of(region), size, settings.upsampling)
        self.target = target[region].long()
        self.share = 1.0 / region.flatten(1).sum(dim=1).float()
        with torch.no_grad():
            self.kept = self._masked(generator.synthesis(start)[0])
            self.kept_features = perceptual.features(self.kept)

    def _masked(self, image: Tensor) -> Tensor:
        """Black inside the region, as in the official loss: black is -1 here and 0 in 0..1."""
        return (image + 1) * self.outside - 1

    def __call__(self, codes: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """(total [B], its parts [B] before weighting, the picture [B,3,R,R])."""
        s = self.settings
        image, features = self.generator.synthesis(codes)
        masked = self._masked(image)
        perceptual = self.perceptual.distance(self.perceptual.features(masked), self.kept_features)
        mse = ((masked - self.kept) / 2).square().mean(dim=(1, 2, 3))
        logits = self.segmenter.at(features, self.sampler)
        sample = self.sampler.pixels.sample
        entropy = F.cross_entropy(logits, self.target, reduction="none") * self.share[sample]
        cross_entropy = torch.zeros_like(mse).index_add(0, sample, entropy)
        parts = {"perceptual": perceptual, "mse": mse, "cross_entropy": cross_entropy}
        total = s.rgb * (s.perceptual * perceptual + s.mse * mse) + s.cross_entropy * cross_entropy
        if s.encoder and self.encode is not None:
            with torch.no_grad():
                pull = self.encode(image)
            parts["encoder"] = (codes - pull).square().mean(dim=(1, 2))
            total = total + s.encoder * parts["encoder"]
        return total, parts, image


def optimise_edit(loss: EditLoss, start: Tensor, *, initial: Tensor | None = None, on_step: OnStep = ignore) -> Edit:
    """Minimise `loss` over the codes with Adam, from start + initial (zero unless given).

    Pictures do not influence each other: a batch gives what its pictures give alone. Evaluates steps + 1 times, so
    that the state after the last update is judged too.
    """
    settings = loss.settings
    codes = (start if initial is None else start + initial).detach().clone().requires_grad_(True)
    rows = _row_mask(codes, settings.rows)
    optimizer = torch.optim.Adam([codes], lr=settings.lr)
    best, best_step = codes.detach().clone(), torch.zeros(len(codes), dtype=torch.long, device=codes.device)
    best_loss = torch.full((len(codes),), math.inf, device=codes.device)
    curve: list[Tensor] = []
    for step in range(settings.steps + 1):
        total, parts, image = loss(codes)
        with torch.no_grad():
            better = total < best_loss if settings.keep == "best" else torch.ones_like(total, dtype=torch.bool)
            best = torch.where(better[:, None, None], codes, best)
            best_loss = torch.where(better, total, best_loss)
            best_step = torch.where(better, step, best_step)
            curve.append(total.detach())
        if step == settings.steps:
            break
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total.sum())
        if rows is not None and codes.grad is not None:
            codes.grad.mul_(rows)
        optimizer.step()
        shown = image.detach()
        values = {"loss": total, **parts}
        on_step(StepInfo(step + 1, settings.steps, {k: float(v.detach().mean()) for k, v in values.items()},
                         lambda shown=shown: shown))
    return Edit(best - start, best_loss, best_step, torch.stack(curve))


def _row_mask(codes: Tensor, rows: tuple[int, int] | None) -> Tensor | None:
    if rows is None:
        return None
    first, last = rows
    if not 0 <= first <= last < codes.shape[1]:
        raise InvalidInputError(f"The range of W+ rows lies within 0..{codes.shape[1] - 1}, got {first}..{last}.")
    index = torch.arange(codes.shape[1], device=codes.device)[None, :, None]
    return ((index >= first) & (index <= last)).to(codes.dtype)
