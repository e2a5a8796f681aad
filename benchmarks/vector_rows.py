"""What refinement and composition do to saved vectors, in the eyes of the judge: rows of edit_quality.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
from judge import Judge
from latent_atelier.demo.models import CAR_LABELS
from latent_atelier.demo.scenes import HUB, PLATE, TYRE
from latent_atelier.pipelines.editgan.editing import EditLoss, EditSettings, edit_region, optimise_edit, refinement
from latent_atelier.pipelines.editgan.segmentation import Segmenter
from latent_atelier.pipelines.labels import LabelMap
from latent_atelier.pipelines.perceptual import PerceptualLoss
from latent_atelier.pipelines.regions import transform_region
from latent_atelier.pipelines.stylegan2.generator import Generator
from torch import Tensor

WHEEL = (TYRE, HUB)
STRENGTH = 0.5
PLATE_FACTOR = 1.4


def area(ids: Tensor, parts: tuple[int, ...]) -> Tensor:
    """Pixels of the parts, per picture."""
    return torch.isin(ids, torch.tensor(parts, dtype=ids.dtype)).flatten(1).sum(dim=1).float()


def refined_rows(generator: Generator, segmenter: Segmenter, distance: PerceptualLoss, judge: Judge, codes: Tensor,
                 vector: Tensor, table: Callable[..., None], *, steps: int = 30) -> None:
    """A vector at half strength on cars it was not made on: what 30 steps of refinement take back outside r."""
    moved = codes + STRENGTH * vector
    target, region = refinement(generator, segmenter, codes, moved, WHEEL)
    loss = EditLoss(generator, segmenter, distance, codes, target, region, EditSettings(steps=steps))
    edit = optimise_edit(loss, codes, initial=moved - codes)
    with torch.no_grad():
        before, bare, refined = (generator.synthesis(w)[0] for w in (codes, moved, codes + edit.delta))
    outside = (~region)[:, None].float()
    errors = [((picture - before).square() * outside).flatten(1).mean(dim=1) for picture in (bare, refined)]
    table(f"refinement, {steps} steps: share of the change outside r taken back", 1 - errors[1] / errors[0])
    wheels = [area(judge.label_ids(picture), WHEEL) for picture in (before, bare, refined)]
    table("wheel area ratio of the bare vector", wheels[1] / wheels[0])
    table("wheel area ratio after refinement", wheels[2] / wheels[0])


def composed_rows(generator: Generator, segmenter: Segmenter, distance: PerceptualLoss, judge: Judge, first: Tensor,
                  codes: Tensor, wheels: Tensor, table: Callable[..., None]) -> None:
    """A second vector, a larger plate, made on the same first car [1,num_ws,w_dim]; both together on the others."""
    with torch.no_grad():
        ids = segmenter.label_ids(generator.synthesis(first)[1])
    target, _ = transform_region(LabelMap(ids, CAR_LABELS), ["plate"], operation="scale", factor=PLATE_FACTOR)
    region = edit_region(ids, target.ids, (PLATE,), dilation=3)
    plate = optimise_edit(EditLoss(generator, segmenter, distance, first, target.ids, region, EditSettings()), first).delta[0]
    moves = {"none": torch.zeros_like(plate), "wheels": STRENGTH * wheels, "plate": plate,
             "both": STRENGTH * wheels + plate}
    with torch.no_grad():
        seen = {name: judge.label_ids(generator.synthesis(codes + move)[0]) for name, move in moves.items()}
    for name, parts in (("wheels", WHEEL), ("plate", (PLATE,))):
        before, alone, together = (area(seen[key], parts).clamp(min=1) for key in ("none", name, "both"))
        table(f"{name}: area ratio of its vector alone", alone / before)
        table(f"{name}: area with both vectors / with its own alone", together / alone)
