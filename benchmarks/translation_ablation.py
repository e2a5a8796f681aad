"""The patent's ablation: weight sharing and the cycle, with and without, four equal short trainings on streets of 32x32.

All four are the original release's form with the same layers; sharing means that the last block of the encoders, the first of
the generators and the last two layers of the discriminators are one for both domains. Called by `translation_quality.py
--ablation DIR`; stopped, it goes on where it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from latent_atelier.demo.streets import render_streets, streets
from latent_atelier.demo.train_unit import DAY_SEED, NIGHT_SEED
from latent_atelier.pipelines.steps import StepInfo
from latent_atelier.pipelines.training.data import PictureArray
from latent_atelier.pipelines.unit.shared import SharedDomains, SharedRecipe, SharedSettings, train_shared

SIZE, PICTURES = 32, 2000


def recipe(*, sharing: bool, cycle: bool, steps: int, seed: int = 1) -> SharedRecipe:
    """One of the four."""
    weights = {} if cycle else {"cycle_likelihood": 0.0, "cycle_kl": 0.0}
    shared = int(sharing)
    return SharedRecipe(resolution=SIZE, width=10, n_res=3 - shared, n_encoder_shared=shared, n_generator_shared=shared,
                        dis_width=12, dis_layers=4, dis_shared=2 * shared, batch=4, steps=steps, seed=seed,
                        settings=SharedSettings(lr=2e-4, **weights))


def trained(folder: Path, steps: int, seed: int = 1) -> dict[tuple[bool, bool], SharedDomains]:
    """(sharing, cycle) -> the networks, trained or taken from the folder."""
    day, night = (PictureArray(render_streets(streets(PICTURES, start), night=dark, size=SIZE))
                  for start, dark in ((DAY_SEED, False), (NIGHT_SEED, True)))
    found: dict[tuple[bool, bool], SharedDomains] = {}
    for sharing in (True, False):
        for cycle in (True, False):
            name = f"{'shared' if sharing else 'separate'}_{'cycle' if cycle else 'no_cycle'}_{seed}"

            def told(info: StepInfo, name: str = name) -> None:
                if info.step % 100 == 0:
                    values = "  ".join(f"{key} {value:.3f}" for key, value in info.losses.items())
                    sys.stderr.write(f"{name} {info.step:5d}  {values}\n")

            trainer = train_shared(day, night, recipe(sharing=sharing, cycle=cycle, steps=steps, seed=seed), folder / name,
                                   sample_every=500, on_step=told)
            found[sharing, cycle] = trainer.domains.eval().requires_grad_(False)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    trained(Path(sys.argv[1]), int(sys.argv[2]))
