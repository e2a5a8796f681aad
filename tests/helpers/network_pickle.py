"""Network pickles as stylegan2-ada's persistence writes them, made from our own modules."""

from __future__ import annotations

import collections
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

SOURCE = "raise SystemExit('the source in a network pickle was run')"


def _reconstruct_persistent_obj(meta: dict) -> None:
    raise AssertionError("a function named in a file was called")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


class _Stored:
    def __init__(self, meta: dict[str, Any]) -> None:
        self.meta = meta

    def __reduce__(self):
        return _reconstruct_persistent_obj, (self.meta,)


OFFICIAL = {"EDMPrior": "EDMPrecond", "VPPrior": "VPPrecond", "VEPrior": "VEPrecond", "IDDPMPrior": "iDDPMPrecond"}


def stored(module: nn.Module) -> _Stored | nn.ModuleDict:
    """A module with its parameters, buffers, children and the plain attributes that matter; torch's own as they are."""
    if isinstance(module, nn.ModuleDict):
        container = nn.ModuleDict()
        container.__dict__["_modules"] = collections.OrderedDict((k, stored(v)) for k, v in module._modules.items())
        return container
    state: dict[str, Any] = {
        "training": False, "_parameters": collections.OrderedDict(module._parameters),
        "_buffers": collections.OrderedDict(module._buffers), "_non_persistent_buffers_set": set(),
        "_modules": collections.OrderedDict((name, stored(child)) for name, child in module._modules.items()),
        "_init_args": (), "_init_kwargs": {"weight_gain": np.float64(0.5)}}
    if hasattr(module, "sigma_data"):
        state["sigma_data"] = module.sigma_data
    if hasattr(module, "conv_clamp"):
        state["conv_clamp"] = module.conv_clamp
    if hasattr(module, "mbstd_group_size"):  # officially a layer of its own, without parameters
        layer = nn.Module()
        layer.group_size = module.mbstd_group_size
        state["_modules"]["mbstd"] = stored(layer)
    if hasattr(module, "group_size"):
        state["group_size"] = module.group_size
    return _Stored({"type": "class", "version": 6, "module_src": SOURCE, "state": state,
                    "class_name": OFFICIAL.get(type(module).__name__, type(module).__name__)})


def write_network_pickle(path: Path, **networks: nn.Module) -> Path:
    """A file with the networks under their names, written as the official code writes it."""
    names = ("torch_utils", "torch_utils.persistence")
    before = {name: sys.modules.get(name) for name in names}
    package, module = (types.ModuleType(name) for name in names)
    package.persistence, module._reconstruct_persistent_obj = module, _reconstruct_persistent_obj
    sys.modules.update(dict(zip(names, (package, module), strict=True)))
    try:
        path.write_bytes(pickle.dumps({"training_set_kwargs": None, **{k: stored(v) for k, v in networks.items()}}, protocol=4))
    finally:
        for name, previous in before.items():
            if previous is None:
                del sys.modules[name]
            else:
                sys.modules[name] = previous
    return path
