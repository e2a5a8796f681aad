"""TensorFlow pickles of StyleGAN2, made from our own modules by the inverse of the import."""

from __future__ import annotations

import math
import pickle
import re
import sys
import types
from pathlib import Path

import numpy as np
from torch import nn

RULES = [  # ours -> theirs, how the array is turned, what is taken away
    (r"mapping\.w_avg", "dlatent_avg", "", 0),
    (r"mapping\.fc(\d+)\.weight", "mapping/Dense{0}/weight", "T", 0),
    (r"mapping\.fc(\d+)\.bias", "mapping/Dense{0}/bias", "", 0),
    (r"mapping\.embed\.weight", "mapping/LabelEmbed/weight", "T", 0),
    (r"mapping\.embed\.bias", "mapping/LabelEmbed/bias", "", 0),
    (r"synthesis\.b4\.const", "synthesis/4x4/Const/const", "row", 0),
    (r"synthesis\.b(\d+)\.(conv[01]|torgb|skip)\.weight", "synthesis/{0}x{0}/{1}/weight", "conv", 0),
    (r"synthesis\.b(\d+)\.(conv[01]|torgb)\.bias", "synthesis/{0}x{0}/{1}/bias", "", 0),
    (r"synthesis\.b(\d+)\.(conv[01])\.noise_strength", "synthesis/{0}x{0}/{1}/noise_strength", "", 0),
    (r"synthesis\.b(\d+)\.(conv[01])\.noise_const", "synthesis/noise{noise}", "map", 0),
    (r"synthesis\.b(\d+)\.(conv[01]|torgb)\.affine\.weight", "synthesis/{0}x{0}/{1}/mod_weight", "T", 0),
    (r"synthesis\.b(\d+)\.(conv[01]|torgb)\.affine\.bias", "synthesis/{0}x{0}/{1}/mod_bias", "", 1),
    (r"b4\.conv\.weight", "4x4/Conv/weight", "conv", 0),
    (r"b4\.conv\.bias", "4x4/Conv/bias", "", 0),
    (r"b4\.fc\.weight", "4x4/Dense0/weight", "T", 0),
    (r"b4\.fc\.bias", "4x4/Dense0/bias", "", 0),
    (r"b4\.out\.weight", "Output/weight", "T", 0),
    (r"b4\.out\.bias", "Output/bias", "", 0),
    (r"b(\d+)\.(fromrgb|conv[01]|skip)\.weight", "{0}x{0}/{1}/weight", "conv", 0),
    (r"b(\d+)\.(fromrgb|conv[01]|skip)\.bias", "{0}x{0}/{1}/bias", "", 0),
]


def _theirs(key: str, generator: bool) -> tuple[str, str, float, bool]:
    for pattern, name, turn, less in RULES:
        found = re.fullmatch(pattern, key)
        if found is None:
            continue
        groups = list(found.groups())
        mirrored = generator and len(groups) > 1 and (groups[1] == "conv0" or groups[1] == "skip")
        noise = 0
        if len(groups) > 1:
            level = round(math.log2(int(groups[0]))) * 2
            noise = level - 5 if groups[1] == "conv0" else level - 4
            first = "Conv0_up" if generator else "Conv0"
            second = ("Conv" if groups[0] == "4" else "Conv1") if generator else "Conv1_down"
            groups[1] = {"conv0": first, "conv1": second, "torgb": "ToRGB", "skip": "Skip", "fromrgb": "FromRGB"}[groups[1]]
        return name.format(*groups, noise=noise), turn, less, mirrored
    raise KeyError(key)


def _variables(module: nn.Module) -> dict[str, np.ndarray]:
    result = {}
    for key, tensor in module.state_dict().items():
        if key.endswith("resample_filter"):
            continue
        name, turn, less, mirrored = _theirs(key, hasattr(module, "synthesis"))
        value = tensor.numpy()
        if turn == "T":
            value = value.T
        elif turn == "row":
            value = value[None]
        elif turn == "map":
            value = value[None, None]
        elif turn == "conv":
            value = (value[:, :, ::-1, ::-1] if mirrored else value).transpose(2, 3, 1, 0)
        result[name] = np.array(value - less if less else value)
    return result


class Network:
    """Stands for dnnlib.tflib.network.Network in the pickle."""

    def __init__(self, name: str, variables: dict[str, np.ndarray]) -> None:
        self.name, self.values = name, variables

    def __getstate__(self) -> dict:
        components = {}
        for part in ("mapping", "synthesis"):
            inside = {k.removeprefix(f"{part}/"): v for k, v in self.values.items() if k.startswith(f"{part}/")}
            if inside:
                components[part] = Network(part, inside)
        own = [(k, v) for k, v in self.values.items() if k.split("/")[0] not in components]
        return {"version": 5, "name": self.name, "static_kwargs": {"resolution": 8}, "components": components,
                "build_module_src": "raise SystemExit('the source in a network pickle was run')",
                "build_func_name": "main", "variables": own}


def write_tensorflow_pickle(path: Path, generator: nn.Module, discriminator: nn.Module, averaged: nn.Module) -> Path:
    """A file (G, D, Gs) as the official code wrote it, in protocol 2."""
    names = ("dnnlib", "dnnlib.tflib", "dnnlib.tflib.network")
    before = {name: sys.modules.get(name) for name in names}
    modules = {name: types.ModuleType(name) for name in names}
    modules[names[2]].Network = Network
    Network.__module__, old = names[2], Network.__module__
    sys.modules.update(modules)
    try:
        triple = tuple(Network(n, _variables(m)) for n, m in (("G", generator), ("D", discriminator), ("Gs", averaged)))
        path.write_bytes(pickle.dumps(triple, protocol=2))
    finally:
        Network.__module__ = old
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return path
