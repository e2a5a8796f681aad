"""Runs saved workflows without a browser: read, check, execute, report."""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    # Read when torch is loaded. GNU's threads spin for milliseconds while they wait for each other; where another program wants
    # the processor they take it from those they wait for, and a layer takes up to eight times as long. Alone, a thousand turns
    # are as fast.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
