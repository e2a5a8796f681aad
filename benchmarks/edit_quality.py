"""How good an edit is, in the eyes of a judge that the editing never used.

    python benchmarks/edit_quality.py [--cars 50] [--report FILE]

Held-out cars are rendered, encoded, their wheels enlarged in the predicted label map, and the edit optimised. The judge
(benchmarks/judge.py) then measures the wheels of reconstruction and result. Afterwards one saved vector is applied,
unoptimised, to all other cars at strengths from -1 to 2.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from judge import load_judge, mean_iou
from latent_atelier.demo.models import CAR_LABELS, load_demo
from latent_atelier.demo.scenes import HUB, TYRE, Car, render_batch
from latent_atelier.demo.workers import to_network
from latent_atelier.pipelines.editgan.editing import EditLoss, EditSettings, edit_region, optimise_edit
from latent_atelier.pipelines.editgan.inversion import InversionSettings, refine_codes
from latent_atelier.pipelines.labels import LabelMap
from latent_atelier.pipelines.perceptual import DiscriminatorDistance
from latent_atelier.pipelines.regions import transform_region
from torch import Tensor
from vector_rows import composed_rows, refined_rows

HELD_OUT_SEED = 9001
WHEEL = (TYRE, HUB)
STRENGTHS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)


def psnr(a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """dB per picture between pictures in -1..1, over the pixels of bool mask [B,H,W] if given."""
    error = ((a.clamp(-1, 1) - b.clamp(-1, 1)) / 2).square().mean(dim=1)
    weight = torch.ones_like(error) if mask is None else mask.float()
    mse = (error * weight).flatten(1).sum(dim=1) / weight.flatten(1).sum(dim=1).clamp(min=1)
    return -10 * mse.clamp(min=1e-10).log10()


def wheel_area(ids: Tensor) -> Tensor:
    """Pixels of tyres and hubs per picture."""
    return sum((ids == part).flatten(1).sum(dim=1) for part in WHEEL).float()  # type: ignore[union-attr]


def line(name: str, values: Tensor, unit: str = "") -> dict[str, float]:
    """Print mean, median and the tenth percentile; return them."""
    values = values.double()
    row = {"mean": float(values.mean()), "median": float(values.median()), "p10": float(values.quantile(0.1))}
    sys.stdout.write(f"{name:62s} mean {row['mean']:8.4g}  median {row['median']:8.4g}  p10 {row['p10']:8.4g} {unit}\n")
    return row


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cars", type=int, default=50)
    parser.add_argument("--factor", type=float, default=1.3)
    parser.add_argument("--inversion-steps", type=int, default=InversionSettings.steps)
    parser.add_argument("--steps", type=int, default=EditSettings.steps)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--pictures", type=Path, help="folder for a sheet of the edits")
    args = parser.parse_args()
    started = time.monotonic()
    report: dict[str, object] = {"cars": args.cars, "factor": args.factor}

    generator = load_demo("stylegan2-generator").module
    encoder, segmenter = load_demo("editgan-encoder").module, load_demo("editgan-segmenter").module
    distance, judge = DiscriminatorDistance(load_demo("stylegan2-discriminator").module), load_judge()
    rng = np.random.default_rng(HELD_OUT_SEED)
    pictures, labels = render_batch([Car.sample(rng) for _ in range(args.cars)], generator.resolution)
    images, truth = to_network(pictures), torch.from_numpy(labels)

    def table(name: str, values: Tensor, unit: str = "") -> None:
        report[name] = line(name, values, unit)

    sys.stdout.write(f"{args.cars} held-out cars, wheels scaled by {args.factor} (area {args.factor**2:.2f})\n\n")
    with torch.no_grad():
        start = encoder(images)
        table("encoder alone: PSNR", psnr(generator.synthesis(start)[0], images), "dB")
    codes = refine_codes(generator, distance, images, start, InversionSettings(steps=args.inversion_steps)).codes
    with torch.no_grad():
        before, features = generator.synthesis(codes)
        predicted = segmenter.label_ids(features)
    table(f"inversion, {args.inversion_steps} steps: PSNR", psnr(before, images), "dB")
    judged_before = judge.label_ids(before)
    branch, parts = mean_iou(predicted, truth)
    report["label branch mIoU"] = branch
    report["label branch IoU per part"] = dict(zip(CAR_LABELS.names, parts, strict=True))
    sys.stdout.write(f"label branch against ground truth: mIoU {branch:.3f}  ("
                     + ", ".join(f"{n} {v:.2f}" for n, v in zip(CAR_LABELS.names, parts, strict=True)) + ")\n")
    ceiling, _ = mean_iou(judge.label_ids(images), truth)
    on_reconstruction, _ = mean_iou(judged_before, truth)
    report["judge mIoU"] = {"renderings": ceiling, "reconstructions": on_reconstruction}
    sys.stdout.write(f"judge against ground truth: mIoU {ceiling:.3f} on renderings, {on_reconstruction:.3f} on "
                     f"reconstructions\n\n")

    asked, _ = transform_region(LabelMap(predicted, CAR_LABELS), ["tyre", "hub"], operation="scale", factor=args.factor)
    target = asked.ids
    region = edit_region(predicted, target, WHEEL, dilation=3)
    settings = EditSettings(steps=args.steps)
    edit_started = time.monotonic()
    edit = optimise_edit(EditLoss(generator, segmenter, distance, codes, target, region, settings), codes)
    with torch.no_grad():
        after, after_features = generator.synthesis(codes + edit.delta)
        outside = ~region
        kept = distance(torch.where(region[:, None], before, after), before)
    report["seconds per edit"] = (time.monotonic() - edit_started) / args.cars
    judged_after = judge.label_ids(after)
    area_before, area_after, area_asked = wheel_area(judged_before), wheel_area(judged_after), wheel_area(target)
    asked_ratio = area_asked / wheel_area(predicted)
    ratio = area_after / area_before
    table("wheel area ratio asked (label maps)", asked_ratio)
    table("wheel area ratio achieved (judge)", ratio)
    share = (ratio - 1) / (asked_ratio - 1)
    table("share of the asked area change", share)
    wheels_asked = torch.isin(target, torch.tensor(WHEEL, dtype=target.dtype)) & region
    wheels_judged = torch.isin(judged_after, torch.tensor(WHEEL)) & region
    union = (wheels_asked | wheels_judged).flatten(1).sum(1)
    table("IoU of judged and asked wheels inside r", (wheels_asked & wheels_judged).flatten(1).sum(1) / union)
    branch_after = segmenter.label_ids(after_features)
    table("pixels of r with the asked label (label branch)",
          ((branch_after == target) & region).flatten(1).sum(1) / region.flatten(1).sum(1))
    table("PSNR outside r against the reconstruction", psnr(after, before, outside), "dB")
    table("perceptual distance outside r", kept)
    sys.stdout.write("\n")

    vector = edit.delta[0]
    others = codes[1:]
    ratios, changes = [], []
    for strength in STRENGTHS:
        with torch.no_grad():
            image = generator.synthesis(others + strength * vector)[0]
        ratios.append(wheel_area(judge.label_ids(image)) / area_before[1:])
        changes.append(psnr(image, before[1:], ~region[1:]))
    rising = (torch.stack(ratios).diff(dim=0) >= -0.02).all(dim=0).float().mean()
    sys.stdout.write(f"the first car's vector on the {args.cars - 1} others, unoptimised:\n")
    rows = []
    for strength, r, change in zip(STRENGTHS, ratios, changes, strict=True):
        rows.append({"strength": strength, "area ratio": float(r.mean()), "PSNR outside": float(change.mean())})
        sys.stdout.write(f"  strength {strength:5.1f}   wheel area ratio {r.mean():6.3f}   PSNR outside r "
                         f"{change.mean():6.1f} dB\n")
    report["saved vector"] = {"rows": rows, "monotonic share of cars": float(rising)}
    sys.stdout.write(f"  area grows with strength at every step on {100 * rising:.0f} % of the cars\n")
    sys.stdout.write("\nthe same vector at half strength, refined; and together with a second vector, a larger plate:\n")
    refined_rows(generator, segmenter, distance, judge, others, vector, table)
    composed_rows(generator, segmenter, distance, judge, codes[:1], others, vector, table)
    report["seconds"] = time.monotonic() - started
    sys.stdout.write(f"\n{report['seconds']:.0f} s in all, {report['seconds per edit']:.2f} s per edit\n")
    if args.report:
        args.report.write_text(json.dumps(report, indent=1))
    if args.pictures:
        save_sheet(args.pictures, images, before, predicted, target, after)


def save_sheet(folder: Path, images: Tensor, before: Tensor, predicted: Tensor, target: Tensor, after: Tensor) -> None:
    """The first edits as a picture."""
    from latent_atelier.pipelines.labels import render
    from latent_atelier.pipelines.sheets import contact_sheet, difference
    from PIL import Image

    def shown(x: Tensor) -> Tensor:
        return ((x[:10] + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)

    sheet = contact_sheet([("picture", shown(images)), ("reconstruction", shown(before)),
                           ("parts", render(LabelMap(predicted[:10], CAR_LABELS))),
                           ("parts asked", render(LabelMap(target[:10], CAR_LABELS))), ("edited", shown(after)),
                           ("difference", difference(shown(before), shown(after)))], cell=128)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray((sheet[0] * 255).byte().numpy()).save(folder / "edits.png")


if __name__ == "__main__":
    main()
