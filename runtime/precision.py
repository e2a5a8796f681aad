"""Which number type a network's convolutions work in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

PRECISIONS = ("auto", "float32", "bfloat16")
INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Of CPUs that multiply bfloat16 natively; elsewhere it is emulated, and slower than float32."""


def number_type(precision: str, device: torch.device) -> torch.dtype:
    """float32 or bfloat16 as named. 'auto' is bfloat16 where that is known to be faster, on CPUs with instructions for it, and
    float32 everywhere else, also under a torch that does not tell."""
    if precision == "auto":
        capabilities: Callable[[], Mapping[str, object]] | None = getattr(torch.cpu, "get_capabilities", None)
        if device.type != "cpu" or capabilities is None:
            return torch.float32
        known = capabilities()
        return torch.bfloat16 if any(known.get(name) for name in INSTRUCTIONS) else torch.float32
    return torch.bfloat16 if precision == "bfloat16" else torch.float32
