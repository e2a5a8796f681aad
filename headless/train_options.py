"""The command line of `atelier train`."""

from __future__ import annotations

import argparse
from typing import Any


def add_train_commands(commands: Any) -> None:
    """Add `train stylegan2|encoder|label-branch|funit|unit|denoiser` to the subcommands."""
    train = commands.add_parser("train", help="train a generator, an encoder, a label branch, a translator or a denoiser",
                               description="Every training writes its checkpoint, curves and samples to --out, and goes on "
                                           "from there when the same command is given again; Ctrl-C stops it after the step "
                                           "at hand. Under torchrun funit and unit train in several processes, each with "
                                           "--batch pictures.")
    kinds = train.add_subparsers(required=True, metavar="NETWORK", dest="network")

    gan = _command(kinds, "stylegan2", "a StyleGAN2 from a folder of pictures")
    _pictures(gan)
    gan.add_argument("--resolution", type=int, default=256, help="side of the pictures, a power of two (256)")
    gan.add_argument("--kimg", type=int, default=1000, help="length in thousands of pictures shown (1000)")
    gan.add_argument("--batch", type=int, default=16, help="pictures per step: 1 to 4, or a multiple of 8 (16)")
    gan.add_argument("--lr", type=float, default=0.002, help="rate of Adam (0.002)")
    gan.add_argument("--decay-kimg", type=int, default=0, help="the rate falls to zero over the last so many thousand (0)")
    gan.add_argument("--r1-gamma", type=float, default=1.0, help="weight of the R1 penalty (1)")
    gan.add_argument("--ema-images", type=float, default=10_000, help="half-life of the averaged generator (10000)")
    gan.add_argument("--latent-size", type=int, default=512, help="numbers in z and in a row of W+ (512)")
    gan.add_argument("--mapping-layers", type=int, default=8, help="layers from z to w (8)")
    gan.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16", help="of the convolutions")
    _width(gan)
    gan.add_argument("--sample-every", type=int, default=1000, metavar="STEPS", help="steps between sample grids (1000)")

    encoder = _command(kinds, "encoder", "an encoder for a generator")
    _networks(encoder)
    _pictures(encoder)
    encoder.add_argument("--preset", choices=("ours", "official"), default="ours", help="official: EditGAN's schedule")
    encoder.add_argument("--steps", type=int, help="updates (ours: 3000, official: 100 epochs)")
    encoder.add_argument("--batch", type=int, default=8, help="real pictures per step (8)")
    _width(encoder)
    encoder.add_argument("--hidden", type=int, default=512, help="width of the last layer but one (512)")
    encoder.add_argument("--sample-every", type=int, default=500, metavar="STEPS", help="steps between sample grids (500)")

    branch = _command(kinds, "label-branch", "a label branch from annotated pictures")
    _networks(branch)
    branch.add_argument("--encoder", metavar="FILE", help="encoder of the generator, for a better start of the embedding")
    branch.add_argument("--pictures", required=True, metavar="DIR", help="the annotated pictures")
    branch.add_argument("--labels", required=True, metavar="DIR", help="an indexed PNG per picture, of the same name")
    branch.add_argument("--label-set", metavar="FILE", help="JSON with names (and colours), for PNGs that name no labels")
    branch.add_argument("--members", type=int, default=10, help="classifiers of the ensemble (10)")
    branch.add_argument("--steps", type=int, default=1500, help="updates of each member (1500)")
    branch.add_argument("--embedding-steps", type=int, default=300, help="optimisation steps of each embedding (300)")
    branch.add_argument("--min-pixels", type=int, default=0, help="smaller parts of a picture become background (0)")

    funit = _command(kinds, "funit", "a few-shot translator from a folder of class folders")
    funit.add_argument("--classes", required=True, metavar="DIR", help="a folder of pictures per class")
    _translator(funit, resolution=128, batch=8, steps=100_000, lr=1e-4)
    funit.add_argument("--reconstruction", type=float, default=0.1, help="weight of the reconstruction (0.1)")
    funit.add_argument("--penalty", choices=("published", "r1"), default="published", help="form of the gradient penalty")
    funit.add_argument("--shots", type=int, default=1, help="a class is shown by one to so many pictures (1, as published)")
    funit.add_argument("--start", metavar="FILE", help="a translator to train further; its sizes count, not --width")
    funit.add_argument("--discriminator-first", type=int, default=0, metavar="STEPS",
                       help="so many steps train the discriminator alone, which is new where --start is given (0)")

    unit = _command(kinds, "unit", "a translator between two domains")
    unit.add_argument("--a", required=True, metavar="DIR", help="pictures of the first domain")
    unit.add_argument("--b", required=True, metavar="DIR", help="pictures of the second domain")
    _translator(unit, resolution=256, batch=1, steps=1_000_000, lr=1e-4)
    unit.add_argument("--cycle", type=float, default=10.0, help="weight of the cycle (10); ten times that in the shared form, "
                                                                "whose weights are ten times as large")
    unit.add_argument("--form", choices=("separate", "shared"), default="separate",
                      help="separate: the current release; shared: the paper's, whose domains share the middle layers")

    denoiser = _command(kinds, "denoiser", "a denoiser, the prior of panoramas, pictures and sound")
    source = denoiser.add_mutually_exclusive_group(required=True)
    source.add_argument("--pictures", metavar="PATH", help="a picture, or a folder of pictures of any sizes")
    source.add_argument("--sound", metavar="PATH", help="a WAV file, or a folder of them")
    denoiser.add_argument("--crop", type=int, help="side of the crops, in pixels (64) or samples (8192)")
    denoiser.add_argument("--steps", type=int, default=20_000, help="updates (20000)")
    denoiser.add_argument("--batch", type=int, default=16, help="crops per step (16)")
    denoiser.add_argument("--lr", type=float, default=0.001, help="rate of Adam (0.001)")
    denoiser.add_argument("--decay", type=int, default=5000, metavar="STEPS",
                          help="after so many the rate falls with the root of their number (5000; 0: never)")
    denoiser.add_argument("--width", type=int, help="channels of the first layer (32, of sound 256)")
    denoiser.add_argument("--blocks", type=int, help="residual blocks per level (1)")
    denoiser.add_argument("--patch", type=int, help="side of what is worked on as one place (2); of sound, samples of a block "
                                                    "(256)")
    denoiser.add_argument("--classes", action="store_true", help="the folders in the folder of pictures are classes")
    denoiser.add_argument("--no-positions", action="store_true", help="do not tell how high in its picture a crop lies")
    denoiser.add_argument("--no-mirror", action="store_true", help="never show pictures mirrored")
    denoiser.add_argument("--longest", type=int, default=1024, help="larger pictures are made smaller (1024)")
    denoiser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32", help="of the convolutions")
    denoiser.add_argument("--sample-every", type=int, default=1000, metavar="STEPS", help="steps between sample grids (1000)")


def _translator(parser: argparse.ArgumentParser, *, resolution: int, batch: int, steps: int, lr: float) -> None:
    parser.add_argument("--resolution", type=int, default=resolution, help=f"side of the pictures ({resolution})")
    parser.add_argument("--width", type=int, default=64, help="channels of the generator's first layer (64)")
    parser.add_argument("--dis-width", type=int, default=64, help="channels of the discriminator's first layer (64)")
    parser.add_argument("--batch", type=int, default=batch, help=f"pictures per step and side ({batch})")
    parser.add_argument("--steps", type=int, default=steps, help=f"updates ({steps})")
    parser.add_argument("--lr", type=float, default=lr, help=f"rate ({lr})")
    parser.add_argument("--no-mirror", action="store_true", help="never show pictures mirrored")
    parser.add_argument("--sample-every", type=int, default=1000, metavar="STEPS", help="steps between sample grids (1000)")


def _command(kinds: Any, name: str, what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=what, description=f"Train {what}.")
    parser.add_argument("--out", required=True, metavar="DIR", help="for the network, its checkpoint, curves and samples")
    parser.add_argument("--seed", type=int, default=0, help="decides everything random (0)")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="where networks run (default: cuda when there is one)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(command=_train)
    return parser


def _networks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--generator", required=True, metavar="FILE", help="StyleGAN2 generator, .safetensors")
    parser.add_argument("--perceptual", required=True, metavar="FILE", help="perceptual network, .safetensors")


def _pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pictures", required=True, metavar="DIR", help="pictures; their centre squares are used")
    parser.add_argument("--mirror", action="store_true", help="show half of the pictures mirrored")


def _width(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--channel-base", type=int, default=16384, help="channels at resolution r: this over r (16384)")
    parser.add_argument("--channel-max", type=int, default=512, help="and at most this (512)")


def _train(options: argparse.Namespace) -> int:
    from .train import run_training

    return run_training(options)
