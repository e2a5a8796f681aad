"""What tests of every layer use."""

from __future__ import annotations

import os
from collections.abc import Iterator

# MKL's default sums depend on where in memory the numbers lie, and comparisons bit for bit must not. It is read when torch is
# loaded; a processor that has no such mode keeps the default.
os.environ.setdefault("MKL_CBWR", "AVX2,STRICT")

import pytest
import torch


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For comparisons bit for bit: with several threads a sum may round differently from run to run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
