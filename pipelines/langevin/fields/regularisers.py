"""What keeps a radiance field clean while few or uncertain pictures shape it. Each is a mean over rays, 0 at its best."""

from __future__ import annotations

from torch import Tensor

from .rendering import DensityOf, Seen, normals_at

SMOOTH_STEP = 0.02


def opacity_entropy(seen: Seen) -> Tensor:
    """Entropy, in nats, of whether a ray is stopped: 0 where it surely is or surely is not."""
    p = seen.opacity.clamp(1e-4, 1 - 1e-4)
    return -(p * p.log() + (1 - p) * (1 - p).log()).mean()


def distortion(seen: Seen) -> Tensor:
    """Mean distance, in lengths of the ray, between any two places where it is stopped (Barron et al. 2022, eq. 15)."""
    span = (seen.edges[:, -1:] - seen.edges[:, :1]).clamp_min(1e-9)
    at, wide = (seen.middles - seen.edges[:, :1]) / span, (seen.edges[:, 1:] - seen.edges[:, :-1]) / span
    w = seen.weights
    before, moment = w.cumsum(dim=1) - w, (w * at).cumsum(dim=1) - w * at
    between = 2 * (w * (at * before - moment)).sum(dim=1)
    return (between + (w.square() * wide).sum(dim=1) / 3).mean()


def orientation(density: DensityOf, origins: Tensor, directions: Tensor, seen: Seen) -> Tensor:
    """How much of what is seen turns its back: mean of w max(0, normal . direction)^2 (Verbin et al. 2022, eq. 11)."""
    kept = (seen.weights.detach() > 1e-2).nonzero()
    rows = kept[:, 0]
    points = origins[rows] + seen.middles[rows, kept[:, 1]][:, None] * directions[rows]
    turned = (normals_at(density, points, SMOOTH_STEP) * directions[rows]).sum(dim=1).clamp_min(0).square()
    return (seen.weights.detach()[rows, kept[:, 1]] * turned).sum() / max(1, len(origins))


