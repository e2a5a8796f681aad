"""What is measured of a radiance field where the object is known: pictures, outlines, colours, and the surface.

Perceptual distances are squared differences of the normalised features of a network that tells procedural creatures apart
(translation_judges.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from latent_atelier.demo.solids import Body
from latent_atelier.pipelines.langevin.fields.cameras import Cameras
from latent_atelier.pipelines.langevin.fields.meshes import EmptyFieldError, density_grid, extract_mesh
from latent_atelier.pipelines.langevin.fields.occupancy import OccupancyGrid
from latent_atelier.pipelines.langevin.fields.radiance_field import RadianceField
from latent_atelier.pipelines.langevin.fields.rendering import Sampling, render
from PIL import Image
from torch import Tensor
from translation_judges import load_judges

SIZE, FINE = 64, Sampling(48, 96)


def pictures(body: Body, cameras: Cameras, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """float [N,3,size,size] 0..1 and what the object covers, [N,size,size]."""
    seen = [body.picture(cameras[i], size) for i in range(len(cameras))]
    return (torch.stack([torch.from_numpy(s.colour) for s in seen]).permute(0, 3, 1, 2).float(),
            torch.stack([torch.from_numpy(s.coverage) for s in seen]).float())


def views(field: RadianceField, cameras: Cameras, size: int = SIZE) -> tuple[Tensor, Tensor]:
    """The same of a field."""
    space = OccupancyGrid.of(field.density)
    found = render(field, cameras, size, size, field.shown_background().detach(), FINE, occupancy=space)
    return found.colour.permute(0, 3, 1, 2).clamp(0, 1), found.opacity


def psnr(found: Tensor, truth: Tensor) -> float:
    """Mean over pictures, dB."""
    return float((-10 * (found - truth).square().flatten(1).mean(dim=1).log10()).mean())


judges = cache(load_judges)


def seems(found: Tensor, truth: Tensor) -> float:
    """Mean perceptual distance of pictures [N,3,64,64] in 0..1."""
    return float(judges().distance(found * 2 - 1, truth * 2 - 1).mean())


def keep_pictures(folder: Path | None, name: str, rows: Sequence[Tensor]) -> None:
    """Rows of pictures [N,3,H,W] in 0..1 as one PNG."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1).permute(1, 2, 0)
        Image.fromarray((sheet.clamp(0, 1) * 255).round().byte().numpy()).save(folder / f"{name}.png")


def overlap(found: Tensor, truth: Tensor) -> float:
    """Intersection over union of silhouettes."""
    one, two = found > 0.5, truth > 0.5
    return float((one & two).sum() / (one | two).sum().clamp_min(1))


def saturation(colour: Tensor, cover: Tensor) -> float:
    """Mean saturation (largest minus smallest channel) of what is covered."""
    return float((colour.amax(dim=1) - colour.amin(dim=1))[cover > 0.5].mean()) if bool((cover > 0.5).any()) else 0.0


def mesh_error(field: RadianceField, body: Body, cameras: Cameras) -> float:
    """Mean distance from the object of the vertices that some camera sees, in units of the cube's half side."""
    try:
        mesh = extract_mesh(field, density_grid(field.density, 96))
    except EmptyFieldError:
        return math.inf
    seen = torch.zeros(len(mesh.vertices), dtype=torch.bool)
    depth = render(field, cameras, 96, 96, torch.ones(3), FINE).depth
    places, _ = cameras.project(mesh.vertices, 96, 96)
    for i in range(len(cameras)):
        column, row = places[i].long().clamp(0, 95).unbind(dim=1)
        seen |= (depth[i, row, column] - (mesh.vertices - cameras.positions[i]).norm(dim=1)).abs() < 0.04
    return float(torch.from_numpy(body.distance(mesh.vertices[seen].numpy())).abs().mean())


def apart(shown: Sequence[Tensor]) -> float:
    """Mean squared difference of pairs."""
    return float(torch.pdist(torch.stack(list(shown)).flatten(1)).square().mean()) / shown[0].numel()
