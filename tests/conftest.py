"""What tests of every layer use."""

from __future__ import annotations

import os
from collections.abc import Iterator

# MKL's default sums depend on the processor and on where in memory the numbers lie. COMPATIBLE is its one mode in which they
# depend on neither, so a comparison with recorded numbers says the same on every machine. It is read when torch is loaded.
os.environ.setdefault("MKL_CBWR", "COMPATIBLE")

import pytest
import torch


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For comparisons bit for bit: with several threads a sum may round differently from run to run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
