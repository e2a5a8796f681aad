"""Seamless blending by Poisson's equation (Perez, Gangnet, Blake 2003)."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import InvalidInputError

TOLERANCE = 1e-4
"""Residual relative to the right-hand side at which the conjugate gradients end."""

MAX_ITERATIONS = 2000
SHIFTS = ((1, 1), (1, -1), (2, 1), (2, -1))
"""Axis and direction of the four neighbours in [C,H,W]."""


def poisson_blend(target: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    """[B,H,W,C] that has the source's gradients inside the mask and equals the target outside, bit for bit.

    target, source float [B,H,W,C] 0..1; mask bool [B,H,W]. Where the mask reaches the picture's edge the gradient across
    the edge is free. A mask that covers everything leaves nothing to meet and is refused.
    """
    if bool(mask.flatten(1).all(dim=1).any()):
        raise InvalidInputError("Poisson blending meets the photograph at the border of the mask, but the mask covers all "
                                "of it; use blend 'feather' or a smaller mask.")
    return torch.stack([_blend(t, s, m) for t, s, m in zip(target.float(), source.float(), mask, strict=True)])


def _neighbour(x: Tensor, axis: int, step: int) -> Tensor:
    """The values one pixel further along the axis; at the edge a pixel is its own neighbour."""
    moved = x.roll(-step, dims=axis)
    edge = x.shape[axis] - 1 if step > 0 else 0
    return moved.index_copy(axis, torch.tensor([edge]), x.narrow(axis, edge, 1))


def _blend(target: Tensor, source: Tensor, mask: Tensor) -> Tensor:
    if not bool(mask.any()):
        return target
    rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
    top, bottom = max(int(rows[0]) - 1, 0), int(rows[-1]) + 2
    left, right = max(int(columns[0]) - 1, 0), int(columns[-1]) + 2
    t = target[top:bottom, left:right].permute(2, 0, 1)
    s = source[top:bottom, left:right].permute(2, 0, 1)
    inside = mask[top:bottom, left:right][None].float()

    def laplacian(x: Tensor) -> Tensor:
        return torch.stack([x - _neighbour(x, axis, step) for axis, step in SHIFTS]).sum(dim=0)

    # unknown: d = f - target, zero outside the mask, with laplacian(d) = laplacian(source - target) inside
    right_side = laplacian(s - t) * inside
    d = torch.zeros_like(t)
    residual = right_side.clone()
    direction = residual.clone()
    energy = residual.square().sum(dim=(1, 2), keepdim=True)
    goal = energy * TOLERANCE**2
    for _ in range(MAX_ITERATIONS):
        if bool((energy <= goal).all()):
            break
        product = laplacian(direction) * inside
        length = energy / (direction * product).sum(dim=(1, 2), keepdim=True).clamp(min=1e-20)
        d = d + length * direction
        residual = residual - length * product
        next_energy = residual.square().sum(dim=(1, 2), keepdim=True)
        direction = residual + direction * (next_energy / energy.clamp(min=1e-20))
        energy = next_energy
    blended = target.clone()
    blended[top:bottom, left:right] = torch.where(inside.bool(), (t + d).clamp(0, 1), t).permute(1, 2, 0)
    return blended
