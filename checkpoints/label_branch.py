"""EditGAN's and DatasetGAN's label branch: one file per classifier of the ensemble, each without the widths of the feature
maps it reads, and without the names of the labels."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..pipelines.label_sets import OFFICIAL
from ..pipelines.labels import LabelSet, default_palette
from ..pipelines.stylegan2.generator import standard_channels
from .architecture import Config
from .errors import LayoutError

State = dict[str, Tensor]
MARK = "layers.6.weight"


def is_classifier(state: State) -> bool:
    return MARK in state and "layers.0.weight" in state and "layers.2.running_mean" in state


def feature_channels(total: int) -> list[int]:
    """The widths of a StyleGAN's feature maps whose sum is `total`: constant, first convolution, two per resolution."""
    for base in (32768, 16384):
        for resolution in (2**i for i in range(5, 11)):
            channels = standard_channels(resolution, channel_base=base)
            widths = [channels[4]] * 2 + [channels[r] for r in channels if r > 4 for _ in (0, 1)]
            if sum(widths) == total:
                return widths
    raise LayoutError(f"it reads {total} feature channels, which is no official StyleGAN2's number (such as 6016 for the cars)")


def label_branch(members: Sequence[State], labels: LabelSet | None) -> tuple[State, Config, LabelSet]:
    """The ensemble as one state dict, its config, and its labels: those given, or the official ones of that number."""
    count = len(members[0][MARK])
    if labels is not None and len(labels) != count:
        raise LayoutError(f"it tells {count} labels apart, the label set names {len(labels)}")
    known = labels or OFFICIAL.get(count) or LabelSet(
        ("background", *(f"part {i}" for i in range(1, count))), default_palette(count))
    state = {f"members.{i}.{key}": value for i, member in enumerate(members) for key, value in member.items()}
    return state, {"feature_channels": feature_channels(members[0]["layers.0.weight"].shape[1])}, known
