"""`python -m latent_atelier.headless …` is `atelier …`."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
