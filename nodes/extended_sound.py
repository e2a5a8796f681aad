"""A sound with a part that is still to be drawn, at its own sample rate and at the denoiser's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.resampling import resampled


@dataclass(frozen=True, eq=False)
class SoundPlan:
    """whole: float [B,C,T], silent from `start` to `end`, the samples to be drawn; the rest is given. rate: per second."""

    whole: Tensor
    rate: int
    start: int
    end: int

    @classmethod
    def of(cls, audio: dict[str, Any], second: dict[str, Any] | None, mode: str, seconds: float) -> SoundPlan:
        """What Langevin Audio draws in a mode ('after', 'before', 'loop' or 'join'). Raises InvalidInputError."""
        wave, rate = audio["waveform"].float().clone(), int(audio["sample_rate"])
        if not wave.shape[2]:
            raise InvalidInputError("The sound given has no samples; give one that lasts.")
        added = max(1, round(seconds * rate))
        gap = wave.new_zeros(*wave.shape[:2], added)
        if mode == "before":
            return cls(torch.cat([gap, wave], dim=2), rate, 0, added)
        parts, start = [wave, gap], wave.shape[2]
        if mode == "join":
            if second is None:
                raise InvalidInputError("Joining needs a second sound; connect one.")
            behind = resampled(_with_channels(second["waveform"].float(), wave.shape[1]), int(second["sample_rate"]), rate)
            if len(behind) not in (1, len(wave)):
                raise InvalidInputError(f"Joining needs one second sound, or one for each of the {len(wave)} first ones, got "
                                        f"{len(behind)}.")
            parts.append(behind.expand(len(wave), -1, -1))
        return cls(torch.cat(parts, dim=2), rate, start, start + added)

    def at(self, rate: int, channels: int) -> tuple[Tensor, Tensor]:
        """The whole at another rate, float [B,channels,t], and where it is known, float [1,t]: 1 there."""
        wave = resampled(_with_channels(self.whole, channels), self.rate, rate)
        places = torch.arange(wave.shape[2], device=wave.device) * (self.rate / rate)
        return wave, ((places < self.start) | (places >= self.end))[None].float()

    def filled(self, drawn: Tensor, rate: int) -> dict[str, Any]:
        """AUDIO at the rate and with the channels of the sound given: what was drawn, in its place; the rest as it was."""
        wave = resampled(drawn, rate, self.rate)
        missing = self.whole.shape[2] - wave.shape[2]
        wave = torch.nn.functional.pad(wave, (0, max(0, missing)))[..., :self.whole.shape[2]]
        out = self.whole.cpu().clone()
        out[..., self.start:self.end] = _with_channels(wave, out.shape[1])[..., self.start:self.end]
        return {"waveform": out, "sample_rate": self.rate}


def _with_channels(waveform: Tensor, channels: int) -> Tensor:
    """waveform [B,C,T] with so many channels: as it is, or their mean in each."""
    return waveform if waveform.shape[1] == channels else waveform.mean(dim=1, keepdim=True).expand(-1, channels, -1)
