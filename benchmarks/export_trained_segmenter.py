"""A segmenter that saw only the exported dataset, scored on the renderer's ground truth.

    python benchmarks/export_trained_segmenter.py [--samples 400] [--report FILE]

The demo generator draws pictures, the label branch (trained from 16 annotated renderings) labels them, and a small
segmenter of pixels learns from the files of the export alone. Beside it the same network, trained as long: on the export
with nothing dropped, on the 16 annotated renderings themselves, and on as many renderings with true labels, which is the
ceiling.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from edit_quality import HELD_OUT_SEED
from judge import mean_iou
from latent_atelier.demo.models import CAR_LABELS, load_demo
from latent_atelier.demo.scenes import CAR_LABEL_NAMES, Car, render_batch
from latent_atelier.demo.train_label_branch import ANNOTATED, ANNOTATED_SEED
from latent_atelier.demo.workers import TRAINING_SEED, to_network
from latent_atelier.pipelines.editgan.dataset import DatasetSettings, export_dataset
from latent_atelier.pipelines.label_png import from_png
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

DISTANCES, BATCH = (1, 4, 10), 2048


def read_dataset(folder: Path) -> tuple[Tensor, Tensor]:
    """Pictures float32 [N,3,64,64] in -1..1 and labels uint8 [N,64,64] of an export, as any program would read it."""
    samples = json.loads((folder / "dataset.json").read_text())["samples"]
    pictures = np.stack([np.asarray(Image.open(folder / sample["image"])) for sample in samples])
    masks = [from_png((folder / sample["mask"]).read_bytes()).ids for sample in samples]
    return to_network(pictures), torch.cat(masks)


def rendered(seed: int, count: int) -> tuple[Tensor, Tensor]:
    """The same of renderings."""
    rng = np.random.default_rng(seed)
    pictures, labels = render_batch([Car.sample(rng) for _ in range(count)], 64)
    return to_network(pictures), torch.from_numpy(labels)


class PatchClassifier(nn.Module):
    """Labels a pixel from its neighbourhood at three scales and its place: small, and trained in seconds."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        inputs = 3 + 2 + 27 * len(DISTANCES)
        self.layers = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.BatchNorm1d(width), nn.Linear(width, width),
                                    nn.ReLU(), nn.BatchNorm1d(width), nn.Linear(width, len(CAR_LABEL_NAMES)))

    @staticmethod
    def inputs(images: Tensor) -> Tensor:
        """Rows of all pixels, [B*64*64,C], of images [B,3,64,64]."""
        place = torch.linspace(-1, 1, images.shape[3]).expand(len(images), 1, images.shape[2], -1)
        parts = [images, place, place.transpose(2, 3)]
        for distance in DISTANCES:
            near = F.avg_pool2d(F.pad(images, [distance // 2] * 4, "replicate"), 2 * (distance // 2) + 1, stride=1)
            taps = F.unfold(F.pad(near, [distance] * 4, "replicate"), 3, dilation=distance)
            parts.append(taps.unflatten(2, images.shape[2:]))
        return torch.cat(parts, dim=1).permute(0, 2, 3, 1).flatten(0, 2)

    @torch.no_grad()
    def label_ids(self, images: Tensor) -> Tensor:
        """int64 [B,64,64]."""
        return self.layers(self.inputs(images)).argmax(dim=1).view(len(images), *images.shape[2:])


def train_segmenter(images: Tensor, labels: Tensor, steps: int) -> PatchClassifier:
    """From scratch, on pixels drawn from all pictures."""
    torch.manual_seed(0)
    network, rng = PatchClassifier(), torch.Generator().manual_seed(1)
    rows, truth = network.inputs(images).half(), labels.flatten().long()
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 5e-3 * (1 - step / steps)
        index = torch.randint(len(rows), (BATCH,), generator=rng)
        loss = F.cross_entropy(network.layers(rows[index].float()), truth[index])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--cars", type=int, default=100)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    started = time.monotonic()
    generator, segmenter = load_demo("stylegan2-generator").module, load_demo("editgan-segmenter").module
    images, truth = rendered(HELD_OUT_SEED, args.cars)
    report: dict[str, float] = {}
    sys.stdout.write(f"{args.steps} steps, on {args.cars} held-out renderings\n\n")

    def score(name: str, data: tuple[Tensor, Tensor]) -> None:
        report[name] = mean_iou(train_segmenter(*data, args.steps).label_ids(images), truth)[0]
        sys.stdout.write(f"{name:52s} mIoU {report[name]:.3f}   ({len(data[0])} pictures)\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as folder:
        for drop in (0.1, 0.0):
            begun = time.monotonic()
            export_dataset(generator, segmenter, CAR_LABELS, DatasetSettings(count=args.samples, drop=drop), Path(folder))
            if drop:
                report["samples exported per second"] = args.samples / (time.monotonic() - begun)
            score(f"exported, {100 * drop:.0f} % most uncertain dropped", read_dataset(Path(folder)))
    score("the annotated renderings alone", rendered(ANNOTATED_SEED, ANNOTATED))
    score("as many renderings with true labels", rendered(TRAINING_SEED, args.samples))
    report["seconds"] = time.monotonic() - started
    sys.stdout.write(f"\n{report['samples exported per second']:.0f} samples exported a second; {report['seconds']:.0f} s in "
                     f"all, {torch.get_num_threads()} threads\n")
    if args.report:
        args.report.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
