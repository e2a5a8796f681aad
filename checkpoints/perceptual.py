"""LPIPS in the key layout of the lpips package: backbone slices under `net`, learned heads under `lin0`, `lin1`, ..."""

from __future__ import annotations

from torch import nn

from ..pipelines.lpips_network import CHANNELS, LPIPS
from .architecture import Architecture, Config, Hints, Layout
from .errors import LayoutError


def _read_lpips(layout: Layout, hints: Hints) -> Config:
    found = tuple(layout.size(f"lin{i}.model.1.weight", 1) for i in range(layout.count("lin{n}.model.1.weight")))
    nets = [net for net, channels in CHANNELS.items() if channels == found]
    if not nets:
        raise LayoutError(f"its heads take {list(found)} channels, which is none of LPIPS's backbones ({', '.join(CHANNELS)})")
    return {"net": nets[0]}


def _build_lpips(config: Config) -> nn.Module:
    return LPIPS(config["net"])


ARCHITECTURES = (
    Architecture("lpips", ("lin0.model.1.weight", "net.slice1.0.weight"), _read_lpips, _build_lpips),
)
