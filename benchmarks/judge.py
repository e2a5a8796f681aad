"""An independent judge of car parts: a small U-Net trained on the renderer's ground truth.

The editing code never sees it. It learns from renderings alone, blurred, shifted in colour and noised so that it reads
generated pictures too: `python benchmarks/judge.py` trains it in a few minutes and stores benchmarks/judge.safetensors.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from latent_atelier.demo.scenes import CAR_LABEL_NAMES, Car, render_batch
from latent_atelier.demo.workers import to_network
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

log = logging.getLogger(__name__)
WEIGHTS = Path(__file__).with_name("judge.safetensors")
TRAINING_SEED, TEST_SEED, SIZE = 7001, 7002, 64


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
                         nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class Judge(nn.Module):
    """U-Net on 64x64 pictures in -1..1 -> logits [B,12,64,64]."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        widths = [width, 2 * width, 3 * width, 4 * width]
        self.down = nn.ModuleList(block(i, o) for i, o in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(block(widths[i + 1] + widths[i], widths[i]) for i in reversed(range(3)))
        self.out = nn.Conv2d(width, len(CAR_LABEL_NAMES), 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        levels: list[Tensor] = []
        for i, level in enumerate(self.down):
            x = level(x if i == 0 else F.max_pool2d(x, 2))
            levels.append(x)
        for level, skip in zip(self.up, reversed(levels[:-1]), strict=True):
            x = level(torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skip], dim=1))
        return self.out(x)

    @torch.no_grad()
    def label_ids(self, images: Tensor) -> Tensor:
        """int64 [B,64,64] from pictures float32 [B,3,64,64] in -1..1."""
        return torch.cat([self(chunk).argmax(dim=1) for chunk in images.split(16)])


def weaken(images: Tensor, rng: torch.Generator) -> Tensor:
    """What separates a generated picture from a rendering: blur, noise, colour shift, some of each."""
    count = len(images)
    amount = torch.rand(count, 1, 1, 1, generator=rng)
    images = torch.lerp(images, F.avg_pool2d(F.pad(images, (1, 1, 1, 1), "replicate"), 3, stride=1), amount * 0.8)
    images = images * (1 + 0.1 * torch.randn(count, 3, 1, 1, generator=rng)) + 0.06 * torch.randn(
        count, 3, 1, 1, generator=rng)
    smooth = F.interpolate(torch.randn(count, 3, 16, 16, generator=rng), scale_factor=4, mode="bilinear")
    return images + 0.05 * amount * smooth + 0.03 * torch.randn(images.shape, generator=rng)


def mean_iou(predicted: Tensor, truth: Tensor, classes: int = len(CAR_LABEL_NAMES)) -> tuple[float, list[float]]:
    """Mean over labels of intersection over union, counted over all pixels of all pictures; and each label's."""
    table = torch.bincount(predicted.flatten().long() * classes + truth.flatten().long(), minlength=classes**2)
    table = table.view(classes, classes).double()
    inter = table.diagonal()
    iou = inter / (table.sum(0) + table.sum(1) - inter).clamp(min=1)
    return float(iou.mean()), iou.tolist()


def train_judge(steps: int, *, pictures: int = 6000, batch: int = 32) -> Judge:
    """Train on fresh renderings and report the mean IoU on others."""
    torch.manual_seed(0)
    rng, numbers = torch.Generator().manual_seed(1), np.random.default_rng(TRAINING_SEED)
    rendered, labels = render_batch([Car.sample(numbers) for _ in range(pictures)], SIZE)
    images, truth = to_network(rendered), torch.from_numpy(labels).long()
    judge = Judge()
    optimizer = torch.optim.Adam(judge.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for step in range(steps):
        index = torch.randint(pictures, (batch,), generator=rng)
        loss = F.cross_entropy(judge(weaken(images[index], rng)), truth[index])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            log.info("step %d, cross-entropy %.4f", step + 1, float(loss))
    judge.eval().requires_grad_(False)
    test, test_labels = render_batch([Car.sample(np.random.default_rng(TEST_SEED + i)) for i in range(200)], SIZE)
    clean = to_network(test)
    log.info("mean IoU on 200 other renderings: clean %.3f, weakened %.3f",
             mean_iou(judge.label_ids(clean), torch.from_numpy(test_labels))[0],
             mean_iou(judge.label_ids(weaken(clean, rng)), torch.from_numpy(test_labels))[0])
    return judge


def load_judge() -> Judge:
    """The stored judge."""
    judge = Judge()
    judge.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in load_file(WEIGHTS).items()})
    return judge.eval().requires_grad_(False)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description="Train the judge")
    parser.add_argument("--steps", type=int, default=800)
    trained = train_judge(parser.parse_args().steps)
    save_file({k: v.half() if v.is_floating_point() else v for k, v in trained.state_dict().items()}, WEIGHTS)
