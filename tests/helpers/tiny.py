"""Tiny networks with random weights, for the rules that hold whatever the weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from latent_atelier.pipelines.editgan.segmentation import Segmenter
from latent_atelier.pipelines.perceptual import DiscriminatorDistance
from latent_atelier.pipelines.stylegan2.discriminator import Discriminator
from latent_atelier.pipelines.stylegan2.generator import Generator

CHANNELS = {4: 12, 8: 10, 16: 8}


@dataclass(frozen=True)
class Networks:
    generator: Generator
    segmenter: Segmenter
    distance: DiscriminatorDistance

    def codes(self, count: int, seed: int = 0) -> torch.Tensor:
        return torch.randn(count, self.generator.num_ws, self.generator.w_dim,
                           generator=torch.Generator().manual_seed(seed))


def tiny_networks() -> Networks:
    """A 16x16 generator, a label branch of three members for four labels, a perceptual distance."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        generator = Generator(z_dim=8, c_dim=0, w_dim=8, resolution=16, channels=CHANNELS, mapping_layers=2)
        segmenter = Segmenter(feature_channels=generator.feature_channels(), num_classes=4, hidden=(16, 8), members=3)
        discriminator = Discriminator(c_dim=0, resolution=16, channels=CHANNELS)
        for module in segmenter.modules():
            if isinstance(module, torch.nn.BatchNorm1d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
            elif isinstance(module, torch.nn.Linear):
                module.weight.data.mul_(3)  # labels that differ from pixel to pixel
    for network in (generator, segmenter, discriminator):
        network.eval().requires_grad_(False)
    return Networks(generator, segmenter, DiscriminatorDistance(discriminator))
