"""Pictures of the procedural objects from known cameras: ground truth for radiance fields."""

from __future__ import annotations

import torch
from latent_atelier.demo.solids import Body
from latent_atelier.pipelines.langevin.fields.cameras import Cameras
from torch import Tensor


def shots(body: Body, cameras: Cameras, size: int) -> tuple[Tensor, Tensor]:
    """Pictures on white, float32 [B,3,size,size] 0..1, and how much of a pixel the object covers [B,size,size]."""
    seen = [body.picture(cameras[i], size) for i in range(len(cameras))]
    pictures = torch.stack([torch.from_numpy(s.colour) for s in seen]).permute(0, 3, 1, 2).float()
    return pictures, torch.stack([torch.from_numpy(s.coverage) for s in seen]).float()


def psnr(found: Tensor, truth: Tensor) -> float:
    """Mean over pictures, dB."""
    error = (found.clamp(0, 1) - truth).square().flatten(1).mean(dim=1)
    return float((-10 * error.log10()).mean())
