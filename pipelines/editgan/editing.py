"""Edit optimisation: the W+ change that realises a new label map inside a region and keeps the picture outside.

    L(dw) = rgb (perceptual P + mse M) outside r  +  cross_entropy CE inside r
            +  encoder ||w - E(G(w))||^2  +  identity (1 - cos(R(G(w)), R(G(w0))))

r is the dilated union of the pixels whose old or new label is edited (EditGAN, section 3.3, eqs. 1-4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import InvalidInputError
from ..perceptual import PerceptualLoss
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator, Noise
from .segmentation import PixelSampler, Segmenter, Upsampling, pixels_of

Encode = Callable[[Tensor], Tensor]
"""Images float32 [B,3,R,R] in -1..1 -> W+ codes."""

Embed = Callable[[Tensor], Tensor]
"""Images float32 [B,3,R,R] in -1..1 -> unit vectors [B,D] that tell who or what is shown (ArcFace for faces)."""


@dataclass(frozen=True)
class EditSettings:
    """steps: Adam updates. lr: rate. rgb: weight of everything outside the region; perceptual, mse: weights within it
    (mse on images in 0..1, mean over the whole picture). cross_entropy: weight inside the region. encoder: weight of
    the pull towards the encoder's code of the current picture. identity: weight of who is shown. upsampling: of the
    label branch's features. rows: first and last W+ row optimised, None for all. keep: the codes of the lowest loss, or
    of the last update, as the official tool returns. patience: a picture ends after so many updates without a new
    lowest loss, 0 never. dtype: of the generator's activations, float32 or bfloat16."""

    steps: int = 60
    lr: float = 0.02
    rgb: float = 15.0
    perceptual: float = 10.0
    mse: float = 5.0
    cross_entropy: float = 1.0
    encoder: float = 0.0
    identity: float = 0.0
    upsampling: Upsampling = "bilinear"
    rows: tuple[int, int] | None = None
    keep: Literal["best", "last"] = "best"
    patience: int = 0
    dtype: torch.dtype = torch.float32


FIXED = EditSettings()
"""The default: the codes of the truly lowest loss, features upsampled as the label branch was trained."""

OFFICIAL = EditSettings(steps=29, encoder=1.0, upsampling="nearest", keep="last")
"""What the official tool computes: range(1, 30) is 29 updates, features are upsampled by nearest neighbour, and of the
best codes only an alias is kept, so that the last ones are returned. Its encoder sees `as_official`."""


@dataclass(frozen=True)
class EditState:
    """Where an optimisation stands after `step` updates; all [B,...]: the codes, Adam's moments, the best so far.

    Going on from a state gives, bit for bit, what never stopping would have given.
    """

    step: int
    codes: Tensor
    first_moment: Tensor
    second_moment: Tensor
    best: Tensor
    best_loss: Tensor
    best_step: Tensor
    curve: Tensor

    def to(self, device: torch.device) -> EditState:
        """The same state on another device; copies, free of an inference mode they were made in."""
        tensors = {f.name: cast(Tensor, getattr(self, f.name)) for f in fields(self) if f.name != "step"}
        return EditState(step=self.step, **{name: tensor.clone().to(device) for name, tensor in tensors.items()})


@dataclass(frozen=True)
class Edit:
    """delta float32 [B,num_ws,w_dim]: edited codes minus start; loss [B] and step [B] of what was kept (step s is the
    state after s updates); curve [evaluations,B]; state: to go on from."""

    delta: Tensor
    loss: Tensor
    step: Tensor
    curve: Tensor
    state: EditState


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
    rendering of `start`, not the photograph. noise: one map per synthesis layer, or the generator's own. encode and
    identify are needed where their weights are not zero.
    """

    def __init__(self, generator: Generator, segmenter: Segmenter, perceptual: PerceptualLoss, start: Tensor,
                 target: Tensor, region: Tensor, settings: EditSettings, *, noise: Noise = "const",
                 encode: Encode | None = None, identify: Embed | None = None) -> None:
        size = (generator.resolution, generator.resolution)
        if target.shape != region.shape or tuple(target.shape) != (len(start), *size):
            raise InvalidInputError(f"The label map and the region of this edit are [{len(start)},{size[0]},{size[1]}], "
                                    f"got {list(target.shape)} and {list(region.shape)}.")
        empty = cast(list[int], (~region.flatten(1).any(dim=1)).nonzero().flatten().tolist())
        if empty:
            raise InvalidInputError(f"The edit changes nothing: the label maps before and after are equal in picture "
                                    f"{empty[0] + 1}; change the map first.")
        for name, weight, network in (("encoder", settings.encoder, encode), ("identity", settings.identity, identify)):
            if weight and network is None:
                raise InvalidInputError(f"The {name} term has the weight {weight} and no network; connect one, or set the "
                                        f"weight to 0.")
        self.generator, self.segmenter, self.perceptual = generator, segmenter, perceptual
        self.encode, self.identify = encode, identify
        self.settings, self.noise = settings, noise
        self.outside = (~region)[:, None].float()
        self.sampler = PixelSampler(pixels_of(region), size, settings.upsampling)
        self.target = target[region].long()
        self.share = 1.0 / region.flatten(1).sum(dim=1).float()
        with torch.no_grad():
            shown = self._draw(start)[0]
            self.kept = self._masked(shown)
            self.kept_features = perceptual.features(self.kept)
            self.person = identify(shown) if identify is not None and settings.identity else None

    def _draw(self, codes: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        return self.generator.synthesis(codes, noise=self.noise, dtype=self.settings.dtype)

    def _masked(self, image: Tensor) -> Tensor:
        """Black inside the region, as in the official loss: black is -1 here and 0 in 0..1."""
        return (image + 1) * self.outside - 1

    def __call__(self, codes: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """(total [B], its parts [B] before weighting, the picture [B,3,R,R])."""
        s = self.settings
        image, features = self._draw(codes)
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
        if self.identify is not None and self.person is not None:
            parts["identity"] = 1 - (self.identify(image) * self.person).sum(dim=1)
            total = total + s.identity * parts["identity"]
        return total, parts, image


def refinement(generator: Generator, segmenter: Segmenter, start: Tensor, moved: Tensor, edited: Collection[int], *,
               dilation: int = 3, noise: Noise = "const") -> tuple[Tensor, Tensor]:
    """What self-supervised refinement of a vector aims at: (target uint8 [B,H,W], region bool [B,H,W]).

    start, moved [B,num_ws,w_dim]: codes before and after the bare vector. The labels of the moved picture are the
    target, and the region is where the edited parts are in either (EditGAN, section 3.3, mode 2).
    """
    with torch.no_grad():
        before, after = (segmenter.label_ids(generator.synthesis(codes, noise=noise)[1]) for codes in (start, moved))
    region = edit_region(before, after, edited, dilation=dilation)
    if not bool(region.flatten(1).any(dim=1).all()):
        raise InvalidInputError("A picture shows none of the parts this vector edits, before or after it; choose other "
                                "parts or another picture.")
    return after, region


def optimise_edit(loss: EditLoss, start: Tensor, *, initial: Tensor | None = None, state: EditState | None = None,
                  on_step: OnStep = ignore) -> Edit:
    """Minimise `loss` over the codes with Adam, from start + initial (zero unless given), or on from `state`.

    Pictures do not influence each other: a batch gives what its pictures give alone. Evaluates once more than it
    updates, so that the state after the last update is judged too.
    """
    settings = loss.settings
    if state is None:
        codes = start if initial is None else start + initial
        state = EditState(0, codes, torch.zeros_like(codes), torch.zeros_like(codes), codes,
                          torch.full((len(codes),), math.inf, device=codes.device),
                          torch.zeros(len(codes), dtype=torch.long, device=codes.device), codes.new_zeros(1, len(codes)))
    elif state.codes.shape != start.shape:
        raise InvalidInputError(f"The state to go on from is of codes {list(state.codes.shape)}, the codes given are "
                                f"{list(start.shape)}; connect the codes it was begun with.")
    codes = state.codes.detach().clone().requires_grad_(True)
    rows = _row_mask(codes, settings.rows)
    optimizer = torch.optim.Adam([codes], lr=settings.lr)
    if state.step:
        optimizer.state[codes] = {"step": torch.tensor(float(state.step)), "exp_avg": state.first_moment.clone(),
                                  "exp_avg_sq": state.second_moment.clone()}
    best, best_loss, best_step = state.best.detach().clone(), state.best_loss.clone(), state.best_step.clone()
    curve = list(state.curve[:-1])
    step, end = state.step, state.step + settings.steps
    while True:
        total, parts, image = loss(codes)
        with torch.no_grad():
            running = step - best_step <= settings.patience if settings.patience else torch.ones_like(total, dtype=torch.bool)
            better = running & ((total < best_loss) | torch.tensor(settings.keep == "last", device=total.device))
            best = torch.where(better[:, None, None], codes, best)
            best_loss = torch.where(better, total, best_loss)
            best_step = torch.where(better, step, best_step)
            curve.append(total.detach())
        if step == end or not bool(running.any()):
            break
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(total.sum())
        if rows is not None and codes.grad is not None:
            codes.grad.mul_(rows)
        optimizer.step()
        step += 1
        shown = image.detach()
        values = {"loss": total, **parts}
        on_step(StepInfo(step - state.step, settings.steps, {k: float(v.detach().mean()) for k, v in values.items()},
                         lambda shown=shown: shown))
    moments = optimizer.state.get(codes) or {"exp_avg": state.first_moment, "exp_avg_sq": state.second_moment}
    after = EditState(step, codes.detach().clone(), moments["exp_avg"], moments["exp_avg_sq"], best, best_loss, best_step,
                      torch.stack(curve))
    return Edit(best - start, best_loss, best_step, after.curve, after)


def _row_mask(codes: Tensor, rows: tuple[int, int] | None) -> Tensor | None:
    if rows is None:
        return None
    first, last = rows
    if not 0 <= first <= last < codes.shape[1]:
        raise InvalidInputError(f"The range of W+ rows lies within 0..{codes.shape[1] - 1}, got {first}..{last}.")
    index = torch.arange(codes.shape[1], device=codes.device)[None, :, None]
    return ((index >= first) & (index <= last)).to(codes.dtype)
