"""How good the demo denoisers are, on landscapes, music and objects that they never saw.

    python -m latent_atelier.demo.measure_denoisers [--landscapes FILE] [--music FILE] [--objects FILE] [--pictures DIR]

Per level of noise: the loss of the training (1 is what an untrained network has), and the error left in the denoised crop over
the error that was put in. Then crops drawn from noise against rendered ones: brightness, contrast and spectrum.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ..checkpoints.registry import load_checkpoint
from ..pipelines.langevin.crops import Crops, PictureCrops, SoundCrops, pictures_from
from ..pipelines.langevin.losses import denoising_loss, edm_weight
from ..pipelines.langevin.position import Labels
from ..pipelines.langevin.preconditioning import EDMPrior
from ..pipelines.langevin.spectrogram import spectrogram_picture
from ..pipelines.langevin.training import draw
from ..pipelines.training.data import seeded
from ..pipelines.training.log import grid, save_picture
from .landscapes import MOODS, landscapes
from .music import pieces
from .train_landscapes import CROP, FEATURES
from .train_music import crops_of
from .train_objects import Views, seen

WEIGHTS = Path(__file__).parent / "weights" / "denoisers"
LEVELS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""In units of the deviation of the data."""
HELD_OUT, COUNT = 99, 64


def held_out_landscapes() -> PictureCrops:
    """Crops of landscapes of another seed."""
    found = landscapes(4, HELD_OUT)
    return PictureCrops(pictures_from(np.concatenate([found[mood] for mood in MOODS])), CROP, wrap=True,
                        classes=[i for i in range(len(MOODS)) for _ in range(4)], labels=Labels(MOODS, FEATURES))


def held_out_music() -> SoundCrops:
    """Crops of pieces of another seed."""
    return crops_of(pieces(12, HELD_OUT))


def held_out_objects() -> Views:
    """Objects of another seed from random sides."""
    return seen(96, HELD_OUT)


def measure(network: EDMPrior, data: Crops, say: Callable[[str], object]) -> tuple[Tensor, Tensor]:
    """Say the figures; return the held-out crops and as many drawn with their labels."""
    clean, classes, positions = data.draw(COUNT, seeded(1))
    labels = data.labels.encode(classes, positions) if data.labels.dim else None
    noise = torch.randn(clean.shape, generator=seeded(2))
    for level in LEVELS:
        sigma = torch.full((len(clean),), level * network.sigma_data)
        with torch.no_grad():
            loss = denoising_loss(network, clean, sigma, noise, edm_weight(sigma, network.sigma_data), labels).mean()
        left = math.sqrt(float(loss) / float(edm_weight(sigma, network.sigma_data)[0])) / float(sigma[0])
        say(f"level {level:5.2f}   loss {float(loss):.4f}   error left {left:.3f}")
    drawn = draw(network, clean.shape, labels, rng=seeded(3))
    for name, crops in (("rendered", clean), ("drawn", drawn)):
        inner = crops.flatten(1).std(dim=1).mean()
        say(f"{name:9} mean {float(crops.mean()):+.3f}   deviation {float(crops.std()):.3f}, in a crop {float(inner):.3f}")
    ratio = (spectrum(drawn) / spectrum(clean)).log()
    bands = ", ".join(f"{float(part.mean().exp()):.2f}" for part in ratio.tensor_split(4))
    rms = float(ratio.square().mean().sqrt())
    say(f"spectrum  drawn over rendered, low to high: {bands}   rms of the logarithm {rms:.3f}")
    return clean, drawn


def spectrum(crops: Tensor) -> Tensor:
    """Mean power of crops [N,C,*size] per ring of frequencies, float [16], the constant left out."""
    axes = tuple(range(2, crops.ndim))
    for axis in axes:
        window = torch.hann_window(crops.shape[axis], periodic=False)
        crops = crops * window.reshape([-1 if a == axis else 1 for a in range(crops.ndim)])
    power = cast(Tensor, torch.fft.fftn(crops, dim=axes)).abs().square().mean(dim=(0, 1))
    frequencies = torch.meshgrid(*(torch.fft.fftfreq(n) for n in power.shape), indexing="ij")
    radius = torch.stack(frequencies).square().sum(dim=0).sqrt()
    rings = [(radius > i / 32) & (radius <= (i + 1) / 32) for i in range(16)]
    return torch.stack([power[ring].mean() for ring in rings])


def main() -> None:
    """Measure what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--landscapes", type=Path, default=WEIGHTS / "landscapes_64.safetensors")
    parser.add_argument("--music", type=Path, default=WEIGHTS / "music_8k.safetensors")
    parser.add_argument("--objects", type=Path, default=WEIGHTS / "objects_64.safetensors")
    parser.add_argument("--pictures", type=Path, help="folder for rendered (above) and drawn crops")
    args = parser.parse_args()
    for path, held_out in ((args.landscapes, held_out_landscapes), (args.music, held_out_music),
                           (args.objects, held_out_objects)):
        if not path.is_file():
            sys.stdout.write(f"{path.stem}: there is no {path}\n")
            continue
        data = held_out()
        network = cast(EDMPrior, load_checkpoint(path).module)
        count = sum(parameter.numel() for parameter in network.parameters())
        sys.stdout.write(f"{path.stem}: {count / 1e6:.2f} M parameters, deviation of the data {network.sigma_data}\n")
        rendered, drawn = measure(network, data, lambda line: sys.stdout.write(f"  {line}\n"))
        if args.pictures is not None:
            args.pictures.mkdir(parents=True, exist_ok=True)
            count = 16 if data.dims == 2 else 4
            rows = torch.stack([rendered[:count], drawn[:count]])
            shown = rows if data.dims == 2 else torch.stack([spectrogram_picture(row) for row in rows])
            save_picture(args.pictures / f"{path.stem}.png", grid(shown))


if __name__ == "__main__":
    main()
