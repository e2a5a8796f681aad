"""Independent judges of translated creatures: which held-out class a picture shows, and in which pose.

Two small networks trained on the renderer's truth, which no translator ever sees: `python benchmarks/translation_judges.py`
trains both in a few minutes and stores benchmarks/translation_judges.safetensors. They learn from renderings alone, blurred,
shifted in colour and noised, so that they read translations too. The recogniser knows the held-out classes and nothing else;
the regressor sees all classes but them.
"""

from __future__ import annotations

import argparse
import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from judge import weaken
from latent_atelier.demo.creatures import HELD_OUT_CLASSES, Pose, Species, render_creature, species
from latent_atelier.demo.workers import to_network
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

log = logging.getLogger(__name__)
WEIGHTS = Path(__file__).with_name("translation_judges.safetensors")
TRAINING_SEED, TEST_SEED = 7101, 7102
POSE = ("x", "y", "scale", "lean", "facing", "stride", "head")


class Reader(nn.Module):
    """Pictures float32 [B,3,64,64] in -1..1 -> numbers [B,outputs]."""

    def __init__(self, outputs: int, width: int = 16) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 4 * width]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1),
                          nn.BatchNorm2d(o), nn.ReLU(), nn.MaxPool2d(2)) for i, o in pairwise(widths))
        self.hidden, self.out = nn.Linear(4 * width * 16, 64), nn.Linear(64, outputs)

    def features(self, x: Tensor) -> list[Tensor]:
        """Of every stage, the channels of a pixel at length 1."""
        found: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            found.append(F.normalize(x, dim=1))
        return found

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        return self.out(F.relu(self.hidden(x.flatten(1))))


class Judges:
    """What the recogniser and the regressor say, in chunks."""

    def __init__(self, recogniser: Reader, regressor: Reader) -> None:
        self.recogniser, self.regressor = recogniser, regressor

    @torch.no_grad()
    def classes(self, images: Tensor) -> Tensor:
        """int64 [B]: which of the held-out classes."""
        return torch.cat([self.recogniser(part).argmax(dim=1) for part in images.split(32)])

    @torch.no_grad()
    def poses(self, images: Tensor) -> Tensor:
        """float32 [B,7] as `Pose.vector`."""
        return torch.cat([self.regressor(part) for part in images.split(32)])

    @torch.no_grad()
    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Perceptual distance [B]: squared differences of the recogniser's normalised features, as LPIPS without its heads."""
        parts: list[Tensor] = []
        for x, y in zip(a.split(32), b.split(32), strict=True):
            pairs = zip(self.recogniser.features(x), self.recogniser.features(y), strict=True)
            parts.append(torch.stack([(f - g).square().sum(dim=1).mean(dim=(1, 2)) for f, g in pairs]).mean(dim=0))
        return torch.cat(parts)


def renderings(kinds: list[Species], count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """images float32 [N,3,64,64] in -1..1, classes int64 [N], poses float32 [N,7]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(kinds)
    poses = [Pose.sample(rng) for _ in range(count)]
    pictures = np.stack([render_creature(kinds[label], pose) for label, pose in zip(labels, poses, strict=True)])
    return to_network(pictures), torch.from_numpy(labels), torch.from_numpy(np.stack([pose.vector() for pose in poses]))


def train_reader(name: str, outputs: int, images: Tensor, truth: Tensor, steps: int, *, batch: int = 32) -> Reader:
    """Cross-entropy for classes (int64 truth), squared error for poses."""
    torch.manual_seed(0)
    rng = torch.Generator().manual_seed(1)
    reader = Reader(outputs)
    optimizer = torch.optim.Adam(reader.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        index = torch.randint(len(images), (batch,), generator=rng)
        found = reader(weaken(images[index], rng))
        wanted = truth[index]
        loss = F.mse_loss(found, wanted) if truth.is_floating_point() else F.cross_entropy(found, wanted)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 199:
            log.info("%s: step %d, loss %.4f", name, step + 1, float(loss.detach()))
    return reader.eval().requires_grad_(False)


def train_judges(steps: int) -> Judges:
    """Train both and report what they can do on other renderings."""
    training, held_out = species()
    images, labels, _ = renderings(held_out, 4800, TRAINING_SEED)
    recogniser = train_reader("recogniser", HELD_OUT_CLASSES, images, labels, steps)
    images, _, poses = renderings(training, 9000, TRAINING_SEED + 10)
    regressor = train_reader("regressor", len(POSE), images, poses, 3 * steps)
    judges, rng = Judges(recogniser, regressor), torch.Generator().manual_seed(2)
    images, labels, poses = renderings(held_out, 600, TEST_SEED)
    for name, shown in (("clean", images), ("weakened", weaken(images, rng))):
        log.info("600 other renderings of the held-out classes, %s: accuracy %.3f, pose error %.3f", name,
                 float((judges.classes(shown) == labels).float().mean()), float((judges.poses(shown) - poses).abs().mean()))
    return judges


def load_judges() -> Judges:
    """The stored judges."""
    state = {k: v.float() if v.is_floating_point() else v for k, v in load_file(WEIGHTS).items()}
    readers = {"recogniser": Reader(HELD_OUT_CLASSES), "regressor": Reader(len(POSE))}
    for name, reader in readers.items():
        reader.load_state_dict({k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")})
        reader.eval().requires_grad_(False)
    return Judges(**readers)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Train the judges")
    parser.add_argument("--steps", type=int, default=800)
    trained = train_judges(parser.parse_args().steps)
    tensors = {f"{name}.{k}": v for name, reader in (("recogniser", trained.recogniser), ("regressor", trained.regressor))
               for k, v in reader.state_dict().items()}
    save_file({k: v.half() if v.is_floating_point() else v for k, v in tensors.items()}, WEIGHTS)
