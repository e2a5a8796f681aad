"""Music that goes on: is the continuation in the key of what was given, and on its beat?

    python benchmarks/extend_audio.py [--pieces N] [--sweeps N] [--denoiser FILE] [--report FILE]

Pieces that the demo denoiser never saw are cut after six seconds, about three quarters into a beat, and continued for six more.
The notes of every piece are known, and so is how it really goes on. In the new part alone: the share of the tonal energy on the
seven notes of the piece's key (0.58 for tones without a key), how much more of the onsets lies on the piece's beats than chance
would have it, the share of energy in peaks of the spectrum, and the level against the given part's.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from latent_atelier.checkpoints.registry import load_checkpoint
from latent_atelier.demo.hearing import beat_strength, key_share, tonality
from latent_atelier.demo.measure_denoisers import HELD_OUT, WEIGHTS
from latent_atelier.demo.music import KEYS, RATE, Piece, Sound, pieces, render
from latent_atelier.nodes.langevin import LangevinAudio
from latent_atelier.nodes.prior_model import PriorModel
from latent_atelier.pipelines.langevin.denoiser import NetworkDenoiser
from latent_atelier.pipelines.langevin.inversion import Inversion
from latent_atelier.pipelines.langevin.preconditioning import NetworkPrior
from latent_atelier.pipelines.langevin.presets import Preset
from latent_atelier.pipelines.langevin.prior import PriorSettings

GIVEN, NEW = 6.0, 6.0
COLUMNS = ("key", "beat", "tonal", "level")
Continue = Callable[[int, Piece, Sound], Sound]
"""Number of the piece, the piece, what is given of it -> the continuation."""


def continuation(network: NetworkPrior, sweeps: int, *, told: bool) -> Continue:
    """Algorithm 1 from a high level of noise on, what is given rewritten at every sweep. told: the key."""
    preset = Preset(PriorSettings(sweeps=sweeps, sigma_max=10.0, sigma_min=0.02, tau=0.5, inversion=Inversion("naive")))

    def draw(number: int, piece: Piece, given: Sound) -> Sound:
        label = network.labels.condition(KEYS[piece.key_index] if told else None)
        denoiser = NetworkDenoiser(network, sigma_data=network.sigma_data, label=label)
        model = PriorModel("music", 1, (network.resolution,), network.multiple, torch.device("cpu"),
                           lambda body: body(denoiser), sample_rate=RATE)
        audio = {"waveform": torch.from_numpy(given)[None, None], "sample_rate": RATE}
        found, _ = LangevinAudio.execute(model, preset, audio, "after", NEW, number).args
        return found["waveform"][0, 0, len(given):].numpy()

    return draw


def judged(piece: Piece, given: Sound, new: Sound) -> list[float]:
    """The columns of one continuation."""
    beat = 60 / piece.tempo
    return [key_share(new, piece), beat_strength(new, piece.tempo, -GIVEN % beat), tonality(new),
            float(new.std() / given.std())]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pieces", type=int, default=8)
    parser.add_argument("--sweeps", type=int, default=96)
    parser.add_argument("--denoiser", type=Path, default=WEIGHTS / "music_8k.safetensors")
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    network = load_checkpoint(args.denoiser).module
    chosen = pieces(args.pieces + 1, HELD_OUT, GIVEN + NEW)
    cut = round(GIVEN * RATE)
    sounds = [render(piece) for piece in chosen]
    noise = np.random.default_rng(0)
    methods: dict[str, Continue] = {
        "how the piece goes on": lambda i, _, __: sounds[i][cut:],
        "ours, told the key": continuation(network, args.sweeps, told=True),
        "ours, told nothing": continuation(network, args.sweeps, told=False),
        "another piece": lambda i, _, __: sounds[i + 1][:cut],
        "noise": lambda _, __, given: (given.std() * noise.standard_normal(len(given))).astype(np.float32),
    }
    rows: dict[str, dict[str, float]] = {}
    sys.stdout.write(f"{'':24}" + "".join(f"{name:>9}" for name in (*COLUMNS, "seconds")) + "\n")
    for name, method in methods.items():
        started = time.perf_counter()
        found = [(piece, sounds[i][:cut], method(i, piece, sounds[i][:cut])) for i, piece in enumerate(chosen[:-1])]
        seconds = (time.perf_counter() - started) / len(found)
        values = [*np.mean([judged(*part) for part in found], axis=0), seconds]
        rows[name] = dict(zip((*COLUMNS, "seconds"), (round(float(v), 3) for v in values), strict=True))
        sys.stdout.write(f"{name:24}" + "".join(f"{value:9.2f}" for value in values) + "\n")
        sys.stdout.flush()
    if args.report is not None:
        args.report.write_text(json.dumps({"pieces": args.pieces, "sweeps": args.sweeps, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
