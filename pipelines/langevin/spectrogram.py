"""Sound as a picture: how strong which pitch is when."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

HEIGHT, RANGE_DB = 128, 70.0


def spectrogram(sound: Tensor, *, window: int = 512, hop: int = 128) -> Tensor:
    """sound float [N,T] -> decibels [N,window/2+1,frames]."""
    frames = torch.stft(sound, window, hop, window=torch.hann_window(window).to(sound), return_complex=True)
    return 20 * torch.log10(frames.abs() + 1e-6)


def spectrogram_picture(sound: Tensor, *, height: int = HEIGHT) -> Tensor:
    """sound float [N,C,T] -> pictures [N,3,height,2*height] in -1..1: low pitch at the bottom, over 70 decibels."""
    window = min(512, 2 ** int(math.log2(sound.shape[2] / 2)))
    levels = spectrogram(sound.float().mean(dim=1), window=window, hop=max(1, window // 4))
    levels = ((levels - levels.amax(dim=(1, 2), keepdim=True)) / RANGE_DB + 1).clamp(0, 1)
    picture = F.interpolate(levels.flip(1)[:, None], (height, 2 * height), mode="bilinear", align_corners=False)
    return picture.expand(-1, 3, -1, -1) * 2 - 1
