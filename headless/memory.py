"""Peak memory of a stretch of work."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Bytes at the highest point since `start()`.

    On CUDA what torch has allocated on the device; otherwise the resident memory of the process. Where the system
    cannot set the process's high-water mark back (anything but Linux), the peak is that since the process began; where
    it knows none (Windows), it is None.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.kind = "cuda allocated" if device.type == "cuda" else "resident"

    def start(self) -> None:
        """Begins a stretch."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif _CLEAR.exists():
            try:
                _CLEAR.write_text("5")
            except OSError:  # not permitted in some containers: the peak is then that of the process
                return

    def peak(self) -> int | None:
        """The highest point of the stretch so far."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        if _STATUS.exists():
            fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if ":" in line)
            return int(fields["VmHWM"].split()[0]) * 1024 if "VmHWM" in fields else None
        return _lifetime_peak()


def _lifetime_peak() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
