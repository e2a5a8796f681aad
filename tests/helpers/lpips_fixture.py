"""LPIPS with the backbone of a parity fixture."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from latent_atelier.pipelines.lpips_network import LPIPS


def backbone(facts: dict, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The fixture's random backbone: stored, or drawn by its recipe."""
    if "backbone_recipe" not in facts:
        return {k: v.float() for k, v in tensors.items() if k.startswith("net.")}
    drawn = {}
    for name, shape in facts["backbone"].items():
        seed = (zlib.crc32(name.removeprefix("net.").encode()) + facts["seed"]) % 2**32
        values = np.random.RandomState(seed).standard_normal(shape).astype(np.float32)
        values *= 0.1 if name.endswith("bias") else np.sqrt(2 / np.prod(shape[1:]))
        drawn[name] = torch.from_numpy(values)
    return drawn


def load_lpips(fixture, net: str) -> tuple[LPIPS, object]:
    f = fixture(f"lpips_{net}")
    state = backbone(f.facts, f.tensors)
    for name, value in f.tensors.items():
        if name.removeprefix("sd.").startswith("lin"):
            state[f"lin{name.removeprefix('sd.')[3]}.model.1.weight"] = value
    network = LPIPS(net)
    network.load_state_dict(state, strict=True)
    return network.eval().requires_grad_(False), f
