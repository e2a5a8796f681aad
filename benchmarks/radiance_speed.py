"""How fast radiance fields are: `python benchmarks/radiance_speed.py [--repeats N] [--device cuda]`.

Rays per second of the three forms, forward alone and forward with backward, with and without the occupancy grid, cases taking
turns; the field is a house, fitted for a little while, so that the grid has something to leave out.
"""

from __future__ import annotations

import argparse
import sys

import timing
import torch
from latent_atelier.demo.objects import make_object
from latent_atelier.pipelines.langevin.fields.cameras import random_orbits
from latent_atelier.pipelines.langevin.fields.field_learner import Learning
from latent_atelier.pipelines.langevin.fields.fitting import FitSettings, PosedImages, fit_images
from latent_atelier.pipelines.langevin.fields.occupancy import OccupancyGrid
from latent_atelier.pipelines.langevin.fields.radiance_field import RadianceField, field_config
from latent_atelier.pipelines.langevin.fields.rendering import Sampling, look
from latent_atelier.pipelines.training.data import seeded

RAYS, SAMPLING = 2048, Sampling(32, 64)
FORMS = {"planes": {}, "mlp": {}, "hash": {"features": 2, "levels": 8, "table": 15, "resolution": 128, "width": 32}}


def main() -> None:
    """Fit, then time."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=60, help="of the fit before")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    body, cameras = make_object("house", (8600, 0)), random_orbits(12, seeded(0), elevation=(0, 40))
    pictures = torch.stack([torch.from_numpy(body.picture(cameras[i], 48).colour) for i in range(len(cameras))])
    images = PosedImages(pictures.permute(0, 3, 1, 2).float(), cameras)
    origins, directions, colour, _ = images.to(device).draw(RAYS, seeded(1))
    cases: dict[str, timing.Case] = {}
    for form, changes in FORMS.items():
        config = field_config(form, blob=5.0, blob_radius=0.6, **changes)  # pyright: ignore[reportArgumentType]
        field = fit_images(images, config, FitSettings(args.steps, 512, learning=Learning(sampling=Sampling(24, 48))),
                           device=device)
        space = OccupancyGrid.of(field.density, device=device)
        sys.stdout.write(f"{form}: {sum(p.numel() for p in field.parameters())} numbers, {100 * space.share:.0f} % of the "
                         f"space occupied\n")

        def forward(field: RadianceField = field, space: OccupancyGrid | None = None) -> object:
            with torch.no_grad():
                return look(field, origins, directions, SAMPLING, occupancy=space).colour.sum().item()

        def backward(field: RadianceField = field, space: OccupancyGrid | None = None) -> object:
            field.zero_grad(set_to_none=True)
            seen = look(field, origins, directions, SAMPLING, occupancy=space)
            (seen.over(field.shown_background()) - colour).square().mean().backward()
            return field.density_head.weight.grad

        for name, grid in (("", None), (" with the grid", space)):
            cases[f"{form}, forward{name}"] = lambda f=forward, g=grid: f(space=g)
            cases[f"{form}, forward and backward{name}"] = lambda f=backward, g=grid: f(space=g)
    seconds = timing.interleaved(cases, repeats=args.repeats)
    sys.stdout.write(f"\n{RAYS} rays, {SAMPLING.samples} samples, {args.device}, {torch.get_num_threads()} threads\n")
    for name, value in seconds.items():
        plain = seconds[name.removesuffix(" with the grid")]
        sys.stdout.write(f"{name:42} {RAYS / value:10.0f} rays/s  {plain / value:5.2f}x the one without grid\n")


if __name__ == "__main__":
    main()
