"""Exact denoisers of objects that are known: what they show is rendered, so the posterior mean is too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from latent_atelier.demo.solids import Body
from latent_atelier.pipelines.langevin.fields.cameras import Cameras
from shots import shots
from torch import Tensor


class OneOf:
    """The prior is: one of these objects, all alike probable. D is their mean, weighed by how well each explains x."""

    def __init__(self, bodies: Sequence[Body], size: int) -> None:
        self.bodies, self.size = bodies, size
        self.seen: dict[tuple[float, ...], Tensor] = {}
        self.sigma_data = 0.5

    def views(self, cameras: Cameras) -> Tensor:
        """[objects,N,3,size,size] in -1..1; each camera is rendered once."""
        found: list[Tensor] = []
        for i in range(len(cameras)):
            key = tuple(cameras[i].poses.flatten().tolist())
            if key not in self.seen:
                self.seen[key] = torch.cat([shots(body, cameras[i], self.size)[0] for body in self.bodies]) * 2 - 1
            found.append(self.seen[key])
        return torch.stack(found, dim=1)

    def __call__(self, x: Tensor, sigma: float, view: object = None) -> Tensor:
        assert isinstance(view, Cameras)
        truth = self.views(view)
        misfit = (x - truth).square().flatten(2).sum(dim=2) / (2 * sigma**2)
        return (torch.softmax(-misfit, dim=0)[:, :, None, None, None] * truth).sum(dim=0)
