"""A labelled dataset drawn from the generator: pictures, part masks, and the uncertain ones left out (DatasetGAN).

Sample i is drawn from seed + i by itself, so neither the number of samples nor what else is drawn changes a pixel of it.
How uncertain it is: the Jensen-Shannon divergence of the ensemble at each pixel, averaged over the worst tenth of the
pixels. (Zhang et al. 2021, section 3.3.)
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InvalidInputError, TrainingStateError
from ..files import write_whole
from ..label_png import to_png
from ..labels import LabelMap, LabelSet
from ..steps import OnStep, StepInfo, ignore
from ..stylegan2.generator import Generator
from .segmentation import Segmenter, vote

FORMAT = "atelier-dataset:1"
INDEX, COCO, SCORES = "dataset.json", "coco.json", ".scores.jsonl"
IMAGES, MASKS = "images", "masks"


@dataclass(frozen=True)
class DatasetSettings:
    """count: samples drawn, of which the share `drop` with the highest uncertainty is left out. seed: sample i is drawn
    from seed + i. psi: truncation. worst_pixels: share of a picture's pixels whose mean disagreement is its uncertainty.
    coco: write coco.json as well."""

    count: int = 1000
    seed: int = 0
    psi: float = 0.9
    drop: float = 0.1
    worst_pixels: float = 0.1
    coco: bool = False

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.drop < 1 or not 0 < self.worst_pixels <= 1:
            raise InvalidInputError(f"A dataset has at least one sample, drops a share from 0 to less than 1 and scores by a "
                                    f"share of pixels in 0..1, got {self.count}, {self.drop} and {self.worst_pixels}.")


@dataclass(frozen=True)
class Sample:
    """image float32 [1,3,R,R] about -1..1, its label map [1,R,R], and its uncertainty, in nats."""

    image: Tensor
    label_map: LabelMap
    uncertainty: float


@dataclass(frozen=True)
class Dataset:
    """What was written: the numbers of the kept and of the dropped samples, and the uncertainty of every one."""

    folder: Path
    kept: list[int]
    dropped: list[int]
    uncertainty: list[float]


def uncertainty(differing: Tensor, share: float) -> Tensor:
    """The mean over the `share` of pixels that differ most, at least one: [B] from the disagreement [B,H,W]."""
    flat = differing.flatten(1)
    return flat.topk(max(1, int(share * flat.shape[1])), dim=1).values.mean(dim=1)


def dropped_samples(scores: list[float], share: float) -> list[int]:
    """The numbers of the share (rounded down) of samples with the highest scores, ascending; of equal ones the later."""
    worst = sorted(range(len(scores)), key=lambda i: (scores[i], i))[len(scores) - int(share * len(scores)):]
    return sorted(worst)


@torch.no_grad()
def draw_sample(generator: Generator, segmenter: Segmenter, labels: LabelSet, number: int,
                settings: DatasetSettings) -> Sample:
    """Sample `number` of the dataset."""
    rng = torch.Generator().manual_seed((settings.seed + number) % 2**63)
    z = torch.randn(1, generator.z_dim, generator=rng).to(generator.mapping.w_avg.device)
    image, features = generator.synthesis(generator.map(z, psi=settings.psi))
    logits, differing = vote(segmenter, features)
    return Sample(image.cpu(), LabelMap(logits.argmax(dim=1).to(torch.uint8).cpu(), labels),
                  float(uncertainty(differing, settings.worst_pixels)[0]))


def export_dataset(generator: Generator, segmenter: Segmenter, labels: LabelSet, settings: DatasetSettings, folder: Path, *,
                   identity: Mapping[str, Any] | None = None, on_step: OnStep = ignore) -> Dataset:
    """Write images/000000.png, masks/000000.png (indexed, see `label_png`) and so on, and dataset.json about them all.

    An interrupted export goes on where it was, and a finished one can be asked for more samples; every file is whole or
    not there, and dataset.json appears last. identity: which networks these are, plain JSON. Raises TrainingStateError
    when the folder holds another dataset, UnwritableFileError when the disk is full.
    """
    known = {**(identity or {}), "format": FORMAT, "seed": settings.seed, "psi": settings.psi,
             "worst_pixels": settings.worst_pixels, "resolution": generator.resolution, "labels": labels.to_json()}
    scores = _read_scores(folder / SCORES, known)
    lines = [json.dumps({"dataset": known}), *(json.dumps({"sample": i, "uncertainty": s}) for i, s in enumerate(scores))]
    write_whole(folder / SCORES, "".join(f"{line}\n" for line in lines).encode())
    with (folder / SCORES).open("a", encoding="utf-8", buffering=1) as log:
        for number in range(len(scores), settings.count):
            sample = draw_sample(generator, segmenter, labels, number, settings)
            _write(folder, number, sample)
            log.write(json.dumps({"sample": number, "uncertainty": sample.uncertainty}) + "\n")
            scores.append(sample.uncertainty)
            on_step(StepInfo(number + 1, settings.count, {"uncertainty": sample.uncertainty},
                             lambda sample=sample: sample.image))
    scores = scores[:settings.count]
    dropped = dropped_samples(scores, settings.drop)
    kept = sorted(set(range(settings.count)) - set(dropped))
    (folder / INDEX).unlink(missing_ok=True)
    for number in range(len(_read_scores(folder / SCORES, known))):
        if number in dropped or number >= settings.count:
            for path in _paths(folder, number):
                path.unlink(missing_ok=True)
    for number in kept:
        if not all(path.is_file() for path in _paths(folder, number)):
            _write(folder, number, draw_sample(generator, segmenter, labels, number, settings))
            on_step(StepInfo(settings.count, settings.count))
    if settings.coco:
        write_whole(folder / COCO, json.dumps(coco(folder, kept, labels)).encode())
    write_whole(folder / INDEX, json.dumps(_index(kept, dropped, scores, settings, known), indent=1).encode())
    return Dataset(folder, kept, dropped, scores)


def _paths(folder: Path, number: int) -> tuple[Path, Path]:
    return folder / IMAGES / f"{number:06d}.png", folder / MASKS / f"{number:06d}.png"


def _write(folder: Path, number: int, sample: Sample) -> None:
    pixels = ((sample.image[0] + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    image, mask = _paths(folder, number)
    write_whole(image, buffer.getvalue())
    write_whole(mask, to_png(sample.label_map))


def _read_scores(path: Path, known: Mapping[str, Any]) -> list[float]:
    """The uncertainties of samples 0, 1, ... that were written. TrainingStateError for another dataset's."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            rows.append(cast("dict[str, Any]", json.loads(line)))
        except ValueError:
            break  # the end of a file whose writer was killed
    found: object = rows[0].get("dataset") if rows and isinstance(rows[0], dict) else None  # pyright: ignore
    if rows and not isinstance(found, dict):
        raise TrainingStateError(f"{path} is no list of samples; remove it, or export to another folder.")
    for key, value in cast("dict[str, Any]", found or {}).items():
        if key not in known or json.loads(json.dumps(known[key])) != value:
            raise TrainingStateError(f"{path.parent} holds a dataset made with {key} {value!r:.80}, asked for is "
                                     f"{known.get(key)!r:.80}; use the same to go on, or export to another folder.")
    return [float(row["uncertainty"]) for number, row in enumerate(rows[1:]) if row.get("sample") == number]


def _index(kept: list[int], dropped: list[int], scores: list[float], settings: DatasetSettings,
           known: Mapping[str, Any]) -> dict[str, Any]:
    samples = [{"image": f"{IMAGES}/{i:06d}.png", "mask": f"{MASKS}/{i:06d}.png", "seed": settings.seed + i,
                "uncertainty": scores[i]} for i in kept]
    left_out = [{"seed": settings.seed + i, "uncertainty": scores[i]} for i in dropped]
    return {**known, "settings": asdict(settings), "samples": samples, "dropped": left_out}


def run_lengths(mask: Tensor) -> dict[str, Any]:
    """bool [H,W] as COCO's uncompressed RLE: lengths of runs, column by column, the first of zeros."""
    flat = mask.t().flatten().numpy().astype(np.int8)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    counts = np.diff(np.concatenate([[0], edges]))
    return {"size": list(mask.shape), "counts": [int(n) for n in counts]}


def coco(folder: Path, numbers: list[int], labels: LabelSet) -> dict[str, Any]:
    """The masks of a folder as COCO annotations: one per picture and part, the background left out."""
    annotations: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for number in numbers:
        image, mask = _paths(folder, number)
        with Image.open(mask) as file:
            ids = torch.from_numpy(np.array(file))
        height, width = ids.shape
        images.append({"id": number, "file_name": f"{IMAGES}/{image.name}", "height": height, "width": width})
        for part in cast("list[int]", ids.unique().tolist()):
            if part == 0:
                continue
            region = ids == part
            rows, columns = region.any(dim=1).nonzero().flatten(), region.any(dim=0).nonzero().flatten()
            x, y = int(columns[0]), int(rows[0])
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": part, "iscrowd": 0,
                "area": int(region.sum()), "segmentation": run_lengths(region),
                "bbox": [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]})
    categories = [{"id": i, "name": name, "supercategory": "part"} for i, name in enumerate(labels.names) if i]
    return {"info": {"description": "Drawn and labelled by Latent Atelier"}, "images": images,
            "annotations": annotations, "categories": categories}
