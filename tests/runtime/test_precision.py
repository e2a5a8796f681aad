"""Which number type a name stands for."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.runtime.precision import number_type

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("capabilities", "expected"), [
    ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16), ({"amx_bf16": True}, torch.bfloat16),
    ({"avx512_bf16": False, "avx2": True}, torch.float32), ({}, torch.float32)])
def test_auto_is_bfloat16_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool],
                                               expected: torch.dtype) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert number_type("auto", CPU) == expected
    assert number_type("auto", CUDA) == torch.float32


def test_an_older_torch_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert number_type("auto", CPU) == torch.float32


def test_names_are_taken_at_their_word() -> None:
    assert number_type("bfloat16", CUDA) == torch.bfloat16
    assert number_type("float32", CPU) == torch.float32
