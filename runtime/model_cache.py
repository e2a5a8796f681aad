"""One cache of loaded networks for all nodes.

Under the host every network sits in a ModelPatcher, and the host's load_models_gpu decides where it is. Without it the
least recently used networks leave when a byte budget is exceeded; a handle loads its network again when needed.

The state lives once per process under one name, because a host may import this pack under the name of its folder while
another program imports it under its own; it holds plain containers and networks only, no class of this module.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import types
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..checkpoints.registry import Checkpoint, load_checkpoint
from ..pipelines.errors import AtelierError
from ..pipelines.labels import LabelSet
from .context import active
from .identity import EMBEDDED

STATE_NAME = "_latent_atelier_model_cache"
FALLBACK_BUDGET = 4 * 2**30

Key = tuple[str, int, int, str]
Loader = Callable[[Path], Checkpoint]


@dataclass(frozen=True)
class CacheStats:
    """entries and bytes held now, the budget, and what happened since the start (or `clear`)."""

    entries: int
    bytes: int
    budget: int
    hits: int
    misses: int
    loads: int
    evictions: int


def _state() -> types.ModuleType:
    found = sys.modules.get(STATE_NAME)
    if found is None:
        fresh = types.ModuleType(STATE_NAME, "Loaded networks of Latent Atelier, shared by all its imports.")
        fresh.__dict__.update(lock=threading.RLock(), loading={}, entries=OrderedDict(), budget=_default_budget(),
                              counts=dict.fromkeys(("hits", "misses", "loads", "evictions"), 0))
        found = sys.modules.setdefault(STATE_NAME, fresh)
    return found


def _default_budget() -> int:
    """Half of the memory there is."""
    if torch.cuda.is_available() and EMBEDDED:
        return torch.cuda.mem_get_info()[1] // 2
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return FALLBACK_BUDGET


class ModelHandle:
    """A network on a socket: what it is, and `acquire` to use it.

    architecture, config, labels, license, generator: as in its file. fingerprint: SHA-256 of its tensors. patcher: the
    host's ModelPatcher, None without a host.
    """

    def __init__(self, path: Path, key: Key, checkpoint: Checkpoint, patcher: Any, loader: Loader) -> None:
        self.name = path.name
        self.architecture, self.config = checkpoint.architecture, checkpoint.config
        self.labels, self.license = checkpoint.labels, checkpoint.license
        self.fingerprint, self.generator = checkpoint.fingerprint, checkpoint.generator
        self.patcher = patcher
        self._path, self._key, self._loader = path, key, loader

    @property
    def device(self) -> torch.device:
        """Where `acquire` places the network."""
        return _device() if self.patcher is None else self.patcher.load_device

    def require_labels(self) -> LabelSet:
        """Its label set; an error for networks without one."""
        if self.labels is None:
            raise AtelierError(f"'{self.name}' names no labels, so its label maps would mean nothing; import it again "
                               f"with a label set.")
        return self.labels

    def acquire(self, activation_bytes: int = 0) -> nn.Module:
        """The network on its device, in eval mode and frozen. Fetch parameters from what this returns, every time.

        activation_bytes: memory the caller will need beside the weights, for the host's planning.
        """
        if self.patcher is not None:
            management = importlib.import_module("comfy.model_management")
            management.load_models_gpu([self.patcher], memory_required=activation_bytes, force_full_load=True)
            return self.patcher.model
        checkpoint, _ = _get(self._path, self._key, self._loader)
        if checkpoint.fingerprint != self.fingerprint:
            raise AtelierError(f"'{self.name}' changed on disk while it was in use; run the workflow again.")
        return checkpoint.module


def load_model(path: Path, *, differentiable: bool = True, loader: Loader = load_checkpoint) -> ModelHandle:
    """The network in a file, from the cache when it is there. Threads that ask for one file load it once.

    differentiable: someone will back-propagate through it, so the host keeps its parameters as they are.
    """
    path = path.resolve()
    status = path.stat()
    place = str(_device()) if EMBEDDED else ("plain" if differentiable else "managed")
    key = (str(path), status.st_mtime_ns, status.st_size, place)
    checkpoint, patcher = _get(path, key, loader)
    return ModelHandle(path, key, checkpoint, patcher, loader)


def stats() -> CacheStats:
    """What the cache holds and did."""
    state = _state()
    with state.lock:
        used = sum(size for _, _, size in state.entries.values())
        return CacheStats(entries=len(state.entries), bytes=used, budget=state.budget, **state.counts)


def clear() -> None:
    """Forget every network and set the counts to zero."""
    state = _state()
    with state.lock:
        state.entries.clear()
        state.counts.update(dict.fromkeys(state.counts, 0))


def set_budget(size: int) -> None:
    """Bytes of weights that may be held; the network in use stays whatever its size."""
    state = _state()
    with state.lock:
        state.__dict__["budget"] = size
        _evict(state)


def _device() -> torch.device:
    context = active()
    return torch.device("cpu") if context is None else context.device


def _get(path: Path, key: Key, loader: Loader) -> tuple[Checkpoint, Any]:
    state = _state()
    with state.lock:
        entry = state.entries.get(key)
        if entry is not None:
            state.entries.move_to_end(key)
            state.counts["hits"] += 1
            return entry[:2]
        state.counts["misses"] += 1
        gate = state.loading.setdefault(key, threading.Lock())
    with gate:
        with state.lock:
            entry = state.entries.get(key)
            if entry is not None:
                return entry[:2]
        checkpoint, patcher = _load(path, key, loader)
        size = sum(t.numel() * t.element_size() for t in checkpoint.module.state_dict().values())
        with state.lock:
            state.counts["loads"] += 1
            state.entries[key] = (checkpoint, patcher, size)
            state.loading.pop(key, None)
            _evict(state)
    return checkpoint, patcher


def _load(path: Path, key: Key, loader: Loader) -> tuple[Checkpoint, Any]:
    """Weights are made outside inference mode, or autograd would refuse them for ever."""
    with torch.inference_mode(False):
        checkpoint = loader(path)
        if EMBEDDED:
            checkpoint.module.to(key[3])
            return checkpoint, None
        return checkpoint, _patcher(checkpoint.module, path, plain=key[3] == "plain")


def _patcher(module: nn.Module, path: Path, *, plain: bool) -> Any:
    """The host replaces the parameters of its newer patcher at every load; the plain one leaves them differentiable."""
    management = importlib.import_module("comfy.model_management")
    patching = importlib.import_module("comfy.model_patcher")
    kind = patching.ModelPatcher if plain else patching.CoreModelPatcher
    patcher = kind(module, load_device=management.get_torch_device(), offload_device=management.unet_offload_device())
    patcher.cached_patcher_init = (_fresh_patcher, (str(path), plain))
    return patcher


def _fresh_patcher(path: str, plain: bool, disable_dynamic: bool = False) -> Any:
    """How the host makes an independent copy."""
    with torch.inference_mode(False):
        return _patcher(load_checkpoint(Path(path)).module, Path(path), plain=plain or disable_dynamic)


def _evict(state: types.ModuleType) -> None:
    used = sum(size for _, _, size in state.entries.values())
    while used > state.budget and len(state.entries) > 1:
        _, (_, _, size) = state.entries.popitem(last=False)
        used -= size
        state.counts["evictions"] += 1
