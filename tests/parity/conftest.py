"""Numeric fixtures made with the official implementations.

A compact copy lies in tests/parity_data: the official state dicts in full, long results thinned to every n-th value.
Where the full fixtures lie beside the checkout (or ATELIER_PARITY names their folder) they are compared in full as well.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

COMMITTED = Path(__file__).parents[1] / "parity_data"
SHARED = Path(os.environ.get("ATELIER_PARITY", Path(__file__).parents[3] / "shared" / "parity")) / "stylegan2"
LONGEST = 2048

TOLERANCE = 1e-5
"""Largest error in units of the tensor's own standard deviation; a gradient passes through twice as many operations."""


def thinned(tensor: Tensor) -> Tensor:
    """Every n-th value, n odd, so that about a thousand remain."""
    step = tensor.numel() // 1024 | 1
    return tensor.flatten()[::step].clone() if tensor.numel() > LONGEST else tensor


@dataclass
class Fixture:
    """One fixture: its description and its tensors."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    thin: bool
    folder: Path = COMMITTED

    def state(self, prefix: str = "sd.") -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}

    def thinned(self, tensor: Tensor) -> Tensor:
        """The values that this fixture keeps."""
        return thinned(tensor) if self.thin else tensor

    def match(self, name: str, found: Tensor, tolerance: float = TOLERANCE) -> None:
        """Compare with the fixture's tensor of that name."""
        expected = self.tensors[name]
        shape = tuple(self.facts["tensors"][name]["shape"])
        assert tuple(found.shape) == shape, name
        found = self.thinned(found.detach())
        scale = float(expected.std()) if expected.numel() > 1 else float(expected.abs().max())
        error = float((found.double() - expected.double()).abs().max())
        assert error <= tolerance * max(scale, 1e-12), f"{name}: {error:.2e} at deviation {scale:.2e}"


@pytest.fixture(params=["committed", "full"])
def fixture(request: pytest.FixtureRequest):
    """name -> Fixture, from the compact copy and from the full one."""
    folder = COMMITTED if request.param == "committed" else SHARED
    if not folder.is_dir():
        pytest.skip("the full fixtures do not lie beside this checkout; the compact copy is compared")

    def load(name: str) -> Fixture:
        facts = json.loads((folder / f"{name}.json").read_text())
        return Fixture(facts, load_file(folder / f"{name}.safetensors"), facts.get("thinned", False))

    torch.manual_seed(0)
    return load


@pytest.fixture
def optional_fixture(fixture):
    """As `fixture`, for those whose compact copy would not be compact: the full one is compared where it is there."""

    def load(name: str) -> Fixture:
        try:
            return fixture(name)
        except FileNotFoundError:
            pytest.skip(f"{name} has no compact copy; its like are compared, and the full one where it lies")

    return load


@pytest.fixture(params=["committed", "full"])
def translation(request: pytest.FixtureRequest):
    """As `fixture`, for FUNIT and UNIT; `folder` of what it gives holds the official checkpoints."""
    folder = COMMITTED / "translation" if request.param == "committed" else SHARED.parent / "translation"
    if not folder.is_dir():
        pytest.skip("the full fixtures do not lie beside this checkout; the compact copy is compared")

    def load(name: str) -> Fixture:
        place = folder if request.param == "committed" else folder / name
        facts = json.loads((place / f"{name}.json").read_text())
        found = Fixture(facts, load_file(place / f"{name}.safetensors"), facts.get("thinned", False))
        found.folder = folder
        return found

    torch.manual_seed(0)
    return load
