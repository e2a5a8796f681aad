"""How good the demo translators are, held against the renderer's truth by judges that no translator has seen.

    python benchmarks/translation_quality.py [--funit FILE] [--unit FILE] [--ablation DIR] [--report FILE] [--pictures DIR]

FUNIT: pictures of training classes in the classes of 1, 5 and 10 pictures of each held-out class, against the true picture of
that class in that pose; beside it the content picture left as it is, and the class pictures of another class. A rendered
creature shows all of its class at once, so that more pictures have little to add; they do where each is seen through a small
window alone, and where each shows another individual of a class whose members differ. UNIT: streets by day and by night against
the same street rendered. The judges are those of translation_judges.py. On one core it takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from edit_quality import psnr
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.demo.creatures import Pose, render_creature, species
from latent_atelier.demo.models import FILES
from latent_atelier.demo.streets import render_streets, streets
from latent_atelier.demo.workers import to_network
from latent_atelier.pipelines.frames import each_frame
from latent_atelier.pipelines.sheets import contact_sheet
from PIL import Image
from torch import Tensor
from translation_ablation import SIZE, trained
from translation_judges import Judges, load_judges

CREATURE_SEED, STREET_SEED = 9101, 9102
SHOTS = (1, 5, 10)
WINDOW, DRAWS, COVER = 16, 16, 0.8
SPREAD = 0.2
"""Of the individuals of a class, where they differ."""


class Creatures:
    """Pictures of training classes, the same poses in each held-out class, and pictures that show these classes.

    content, truth float32 [N,3,64,64] in -1..1; classes int64 [N]; poses [N,7]; shown [classes,10,3,64,64].
    """

    def __init__(self, per_class: int) -> None:
        rng, (known, held_out) = np.random.default_rng(CREATURE_SEED), species()
        content, truth, classes, poses = [], [], [], []
        for label, kind in enumerate(held_out):
            for _ in range(per_class):
                pose = Pose.sample(rng)
                content.append(render_creature(known[int(rng.integers(len(known)))], pose))
                truth.append(render_creature(kind, pose))
                classes.append(label)
                poses.append(pose.vector())
        self.content, self.truth = to_network(np.stack(content)), to_network(np.stack(truth))
        self.classes, self.poses = torch.tensor(classes), torch.from_numpy(np.stack(poses))
        self.shown = torch.stack([to_network(np.stack([render_creature(kind, Pose.sample(rng)) for _ in range(max(SHOTS))]))
                                  for kind in held_out])


def through_windows(shown: Tensor, rng: np.random.Generator) -> Tensor:
    """Class pictures [classes,10,3,64,64], each covered but for a window of WINDOW pixels a side about the middle."""
    covered = torch.full_like(shown, COVER)
    size = shown.shape[-1]
    for label, number in np.ndindex(*shown.shape[:2]):
        left, top = (int(rng.integers(12, size - 12 - WINDOW + 1)) for _ in range(2))
        part = ..., slice(top, top + WINDOW), slice(left, left + WINDOW)
        covered[label, number][part] = shown[label, number][part]
    return covered


def individuals(rng: np.random.Generator) -> Tensor:
    """Class pictures [classes,10,3,64,64], each of another individual of its class."""
    return torch.stack([to_network(np.stack([render_creature(kind.individual(rng, SPREAD), Pose.sample(rng))
                                             for _ in range(max(SHOTS))])) for kind in species()[1]])


def score(judges: Judges, found: Tensor, data: Creatures) -> dict[str, float]:
    """The columns of the table."""
    return {"PSNR": float(psnr(found, data.truth).mean()),
            "perceptual distance": float(judges.distance(found, data.truth).mean()),
            "class accuracy": float((judges.classes(found) == data.classes).float().mean()),
            "pose error": float((judges.poses(found) - data.poses).abs().mean())}


def funit_rows(network: Any, judges: Judges, data: Creatures) -> tuple[dict[str, dict[str, float]], dict[int, Tensor]]:
    """name -> columns, and the translations by K."""
    rows = {"true pictures (what the judges can do)": score(judges, data.truth, data),
            "content left as it is": score(judges, data.content, data)}
    found: dict[int, Tensor] = {}
    with torch.no_grad():
        def codes_of(shown: Tensor) -> Tensor:
            return torch.stack([network.class_codes(pictures) for pictures in shown])  # [classes,10,C]

        def translated(codes: Tensor, shots: int, shift: int = 0, first: int = 0) -> Tensor:
            chosen = codes[:, first:first + shots].mean(dim=1).roll(shift, 0)[data.classes]
            return each_frame(data.content, lambda i, x: network(x, chosen[i:i + 1]), factor=network.factor, least=16)

        whole, rng = codes_of(data.shown), np.random.default_rng(CREATURE_SEED)
        for shots in SHOTS:
            firsts = range(0, max(SHOTS) - shots + 1, max(1, max(SHOTS) // 5))
            trials = [translated(whole, shots, first=first) for first in firsts]
            rows[f"FUNIT, K = {shots}"] = mean_of([score(judges, trial, data) for trial in trials])
            found[shots] = trials[0]
        rows[f"FUNIT, K = {max(SHOTS)}, another class's pictures"] = score(judges, translated(whole, max(SHOTS), shift=5), data)
        drawn = {f"windows of {WINDOW}x{WINDOW}": [codes_of(through_windows(data.shown, rng)) for _ in range(DRAWS)],
                 "individuals that differ": [codes_of(individuals(rng)) for _ in range(DRAWS)]}
        for kind, draws in drawn.items():
            for shots in SHOTS:
                rows[f"FUNIT, K = {shots}, {kind}"] = mean_of(
                    [score(judges, translated(codes, shots), data) for codes in draws])
    return rows, found


def mean_of(scores: list[dict[str, float]]) -> dict[str, float]:
    """Of every column."""
    return {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}


def unit_rows(network: Any, day: Tensor, night: Tensor) -> dict[str, float]:
    """PSNR against the true picture both ways, and of the cycle."""
    with torch.no_grad():
        def through(images: Tensor, direction: str) -> Tensor:
            return each_frame(images, lambda _, x: network.translate(x, direction), factor=network.factor, least=16)

        to_night, to_day = through(day, "a to b"), through(night, "b to a")
        back_day, back_night = through(to_night, "b to a"), through(to_day, "a to b")
    return {"day to night": float(psnr(to_night, night).mean()), "night to day": float(psnr(to_day, day).mean()),
            "day, there and back": float(psnr(back_day, day).mean()),
            "night, there and back": float(psnr(back_night, night).mean())}


def pairs(count: int, size: int) -> tuple[Tensor, Tensor]:
    """The same streets by day and by night, which no training has seen."""
    found = streets(count, STREET_SEED)
    day, night = (to_network(render_streets(found, night=dark, size=size)) for dark in (False, True))
    return day, night


def write_table(title: str, rows: dict[str, dict[str, float]]) -> None:
    """Print rows of equal columns."""
    names = list(next(iter(rows.values())))
    sys.stdout.write(f"\n{title}\n{'':44s}" + "  ".join(f"{name:>21s}" for name in names) + "\n")
    for name, row in rows.items():
        sys.stdout.write(f"{name:44s}" + "  ".join(f"{row[key]:21.3f}" for key in names) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--funit", type=Path, default=FILES["funit"])
    parser.add_argument("--unit", type=Path, default=FILES["unit"])
    parser.add_argument("--per-class", type=int, default=20, help="pictures per held-out class")
    parser.add_argument("--streets", type=int, default=100)
    parser.add_argument("--ablation", type=Path, metavar="DIR", help="train the four forms there, or take them from there")
    parser.add_argument("--steps", type=int, default=2000, help="of each training of the ablation")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="folder for sheets of the translations")
    args = parser.parse_args()
    report: dict[str, Any] = {}

    judges, data = load_judges(), Creatures(args.per_class)
    network = load_checkpoint(args.funit).module
    rows, found = funit_rows(network, judges, data)
    write_table(f"FUNIT, {len(data.content)} pictures into {len(data.shown)} held-out classes", rows)
    report["funit"] = rows

    day, night = pairs(args.streets, 64)
    network = load_checkpoint(args.unit).module
    rows = {"UNIT": unit_rows(network, day, night)}
    copied, turned = float(psnr(day, night).mean()), float(psnr(night, day).mean())
    rows["left as it is"] = {**dict.fromkeys(rows["UNIT"], float("nan")), "day to night": copied, "night to day": turned}
    write_table(f"UNIT, {args.streets} streets, PSNR in dB", rows)
    report["unit"] = rows
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
        save_sheets(args.pictures, data, found, network, day, night)

    if args.ablation:
        day, night = pairs(args.streets, SIZE)
        rows = {f"{'shared' if sharing else 'separate'} layers, {'with' if cycle else 'without'} the cycle":
                unit_rows(domains, day, night) for (sharing, cycle), domains in trained(args.ablation, args.steps).items()}
        write_table(f"Ablation, {SIZE}x{SIZE}, {args.steps} steps each, PSNR in dB", rows)
        report["ablation"] = rows
    if args.report:
        args.report.write_text(json.dumps(report, indent=1))


def save_sheets(folder: Path, data: Creatures, found: dict[int, Tensor], unit: Any, day: Tensor, night: Tensor) -> None:
    """creatures.png: content, three class pictures, translations, truth. streets.png: both ways, with the truth."""
    def shown(x: Tensor) -> Tensor:
        return ((x + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1)

    index = torch.arange(0, len(data.content), max(1, len(data.content) // len(data.shown)))[:10]
    classes = data.classes[index]
    columns = [("content", data.content[index]), *((f"class {i}", data.shown[classes, i - 1]) for i in (1, 2, 3)),
               *((f"K = {shots}", pictures[index]) for shots, pictures in found.items()), ("truth", data.truth[index])]
    sheets = {"creatures": columns}
    with torch.no_grad():
        sheets["streets"] = [("day", day[:8]), ("to night", unit.translate(day[:8], "a to b")), ("true night", night[:8]),
                             ("to day", unit.translate(night[:8], "b to a")), ("true day", day[:8])]
    for name, parts in sheets.items():
        sheet = contact_sheet([(title, shown(x)) for title, x in parts], cell=128)
        Image.fromarray((sheet[0] * 255).byte().numpy()).save(folder / f"{name}.png")


if __name__ == "__main__":
    main()
