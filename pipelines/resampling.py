"""Sound at another sample rate, by its spectrum."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor

from .errors import InvalidInputError

TAPER = 0.05
"""Share of the band below the lower of the two limits over which the spectrum falls to nothing."""


def resampled(sound: Tensor, rate: int, wanted: int) -> Tensor:
    """float [...,T] at `rate` per second -> float [...,ceil(T * wanted / rate)] at `wanted`, low-passed where that is less.

    Mirrored ends keep the circular transform from joining end and beginning.
    """
    if rate < 1 or wanted < 1:
        raise InvalidInputError(f"Sample rates are whole numbers above 0, got {rate} and {wanted} samples per second.")
    length = sound.shape[-1]
    if rate == wanted or not length:
        return sound
    common = math.gcd(rate, wanted)
    period, found_period = rate // common, wanted // common
    margin = -(-min(length, max(256, 64 * period // found_period)) // period) * period  # whole periods keep samples in place
    periods = _smooth(-(-length // period) + 2 * margin // period)
    padded = _mirrored(sound, margin, periods * period - length - margin)
    spectrum = cast(Tensor, torch.fft.rfft(padded.double()))  # pyright: ignore[reportUnknownMemberType]
    bins = periods * min(period, found_period) // 2 + 1
    edge = torch.linspace(0, 1, spectrum.shape[-1], dtype=torch.float64, device=sound.device)
    edge = edge * (spectrum.shape[-1] - 1) / max(1, bins - 1)
    spectrum = spectrum * torch.cos(math.pi / 2 * ((edge - 1 + TAPER) / TAPER).clamp(0, 1)).square()
    kept = spectrum[..., :bins]  # the transform back adds zeros where the new rate is higher
    out = cast(Tensor, torch.fft.irfft(kept, n=periods * found_period))  # pyright: ignore[reportUnknownMemberType]
    start, count = margin // period * found_period, -(-length * wanted // rate)
    return (out[..., start:start + count] * (found_period / period)).to(sound.dtype)


def _mirrored(sound: Tensor, before: int, behind: int) -> Tensor:
    """sound [...,T] with its mirror images on both sides, as often as they are needed."""
    length = sound.shape[-1]
    places = torch.arange(-before, length + behind, device=sound.device) % (2 * length)
    return sound[..., torch.minimum(places, 2 * length - 1 - places)]


def _smooth(count: int) -> int:
    """The next number without prime factors above 5: what Fourier transforms are fast for."""
    while True:
        left = count
        for prime in (2, 3, 5):
            while left % prime == 0:
                left //= prime
        if left == 1:
            return count
        count += 1
