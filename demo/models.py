"""What the demo networks are: sizes, file names, and how they are written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoints.registry import Checkpoint, load_checkpoint, save_checkpoint
from ..pipelines.editgan.encoder import Encoder
from ..pipelines.editgan.segmentation import Segmenter
from ..pipelines.labels import LabelSet
from ..pipelines.stylegan2.discriminator import Discriminator
from ..pipelines.stylegan2.generator import Generator, standard_channels
from .scenes import CAR_LABEL_COLOURS, CAR_LABEL_NAMES

WEIGHTS = Path(__file__).parent / "weights"
LICENSE = "MIT"
RESOLUTION, Z_DIM, W_DIM, MAPPING_LAYERS = 64, 64, 128, 3
CHANNELS = standard_channels(RESOLUTION, channel_base=2048, channel_max=128)
CAR_LABELS = LabelSet(CAR_LABEL_NAMES, CAR_LABEL_COLOURS)

FILES = {
    "stylegan2-generator": WEIGHTS / "stylegan2" / "toy_cars_64.safetensors",
    "stylegan2-discriminator": WEIGHTS / "perceptual" / "toy_cars_64.safetensors",
    "editgan-encoder": WEIGHTS / "encoders" / "toy_cars_64.safetensors",
    "editgan-segmenter": WEIGHTS / "label_branches" / "toy_cars_64.safetensors",
    "funit": WEIGHTS / "funit" / "creatures_64.safetensors",
    "unit": WEIGHTS / "unit" / "streets_64.safetensors",
}


def build_generator() -> Generator:
    """64x64, 1.1 M parameters."""
    return Generator(z_dim=Z_DIM, c_dim=0, w_dim=W_DIM, resolution=RESOLUTION, channels=CHANNELS,
                     mapping_layers=MAPPING_LAYERS)


def build_discriminator() -> Discriminator:
    """The discriminator that goes with it; after training, the perceptual network."""
    return Discriminator(c_dim=0, resolution=RESOLUTION, channels=CHANNELS)


def build_encoder() -> Encoder:
    """Twice the discriminator's width at the high resolutions."""
    channels = {64: 32, 32: 64, 16: 128, 8: 192, 4: 192}
    return Encoder(resolution=RESOLUTION, num_ws=2 * len(CHANNELS), w_dim=W_DIM, channels=channels, hidden=384)


def build_segmenter(generator: Generator, members: int = 5) -> Segmenter:
    """The label branch on the demo generator's features."""
    return Segmenter(feature_channels=generator.feature_channels(), num_classes=len(CAR_LABELS), members=members)


def save_demo(architecture: str, module: nn.Module, **extra: Any) -> Path:
    """Write a demo network in float16 where the pack looks for it."""
    path = FILES[architecture]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, module, architecture=architecture, license=LICENSE, dtype=torch.float16, **extra)
    return path


def load_demo(architecture: str) -> Checkpoint:
    """Read a demo network."""
    return load_checkpoint(FILES[architecture])
