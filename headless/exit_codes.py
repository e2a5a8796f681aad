"""What the command's exit codes mean."""

from __future__ import annotations

DONE = 0
FAILED = 1
WRONG_INPUT = 2
CANCELLED = 130
