"""`atelier train`: one training from the command line, to the files of the networks it gives."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from ..checkpoints.registry import save_checkpoint
from ..nodes.sockets import labels_to_network
from ..pipelines.editgan.inversion import InversionSettings
from ..pipelines.editgan.recipes import EncoderRecipe, LabelBranchRecipe, train_encoder, train_label_branch
from ..pipelines.editgan.style_encoders import embedder
from ..pipelines.editgan.training import EncoderTraining, SegmenterTraining
from ..pipelines.errors import InvalidInputError, TrainingStoppedError
from ..pipelines.label_png import from_png
from ..pipelines.labels import LabelMap, require_same_labels
from ..pipelines.lpips_network import distance_of
from ..pipelines.steps import StepInfo
from ..pipelines.stylegan2.recipe import StyleGAN2Recipe, train_stylegan2
from ..pipelines.stylegan2.training import GanSettings
from ..pipelines.training.data import PictureFolder, to_network
from ..pipelines.training.together import Group
from ..runtime.context import ExecutionContext, Folders
from ..runtime.host import Cancelled, check_cancel
from .exit_codes import CANCELLED, DONE
from .label_file import read_label_set
from .network_file import read_network
from .run import cancel_on_interrupt, choose_device
from .together import joined
from .train_denoiser import train_denoiser_from
from .train_translators import train_funit_from, train_unit_from


def run_training(options: argparse.Namespace) -> int:
    """Train, write the paths of the networks to standard output, and return the exit code.

    Raises AtelierError when the input is wrong. A cancelled training has written its checkpoint.
    """
    out = Path(options.out)
    if out.exists() and not out.is_dir():
        raise InvalidInputError(f"--out {out}: this is a file, expected a folder.")
    with joined(options.network, choose_device(options.device)) as (group, device):
        return _run_as(group, device, options, out)


def _run_as(group: Group, device: torch.device, options: argparse.Namespace, out: Path) -> int:
    """One process of the training."""
    context = ExecutionContext(folders=Folders(input=(), output=out, temp=out), device=device)
    train = {"stylegan2": _stylegan2, "encoder": _encoder, "label-branch": _label_branch, "funit": train_funit_from,
             "unit": train_unit_from, "denoiser": train_denoiser_from}[options.network]
    with context.activate(), cancel_on_interrupt(context), _Bar(options.quiet or not group.leader) as bar:
        try:
            paths = train(options, out, device, bar, group)
        except (Cancelled, TrainingStoppedError):
            bar.close()
            if group.leader:
                sys.stderr.write(f"Cancelled after step {bar.step} of {bar.total}; the same command goes on from there.\n")
            return CANCELLED
    for path in paths:
        sys.stdout.write(f"{path}\n")
    return DONE


class _Bar:
    """Steps on standard error; every step may end the training."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet or not sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        self.step, self.total = 0, 0

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal clean."""
        if self._bar is not None:
            self._bar.close()

    def __call__(self, info: StepInfo) -> None:
        self.step, self.total = info.step, info.total
        if self._bar is None:
            self._bar = tqdm(total=info.total, initial=info.step - 1, unit="step", file=sys.stderr, disable=self._quiet)
        self._bar.set_postfix({name: f"{value:.4g}" for name, value in info.losses.items()}, refresh=False)
        self._bar.update(info.step - self._bar.n)
        check_cancel()


def _stylegan2(options: argparse.Namespace, out: Path, device: torch.device, bar: _Bar, _: Group) -> list[Path]:
    dtype = {"bfloat16": torch.bfloat16, "float32": torch.float32}[options.precision]
    gan = GanSettings(lr=options.lr, r1_gamma=options.r1_gamma, ema_images=options.ema_images, dtype=dtype)
    recipe = StyleGAN2Recipe(
        resolution=options.resolution, images=1000 * options.kimg, batch=options.batch,
        decay_images=1000 * options.decay_kimg, z_dim=options.latent_size, w_dim=options.latent_size,
        mapping_layers=options.mapping_layers, channel_base=options.channel_base, channel_max=options.channel_max,
        mirror=options.mirror, seed=options.seed, gan=gan)
    trainer = train_stylegan2(PictureFolder(Path(options.pictures), recipe.resolution), recipe, out, device=device,
                              sample_every=options.sample_every, on_step=bar)
    generator, perceptual = out / "generator.safetensors", out / "perceptual.safetensors"
    identity = save_checkpoint(generator, trainer.ema, architecture="stylegan2-generator")
    save_checkpoint(perceptual, trainer.discriminator, architecture="stylegan2-discriminator", generator=identity)
    return [generator, perceptual]


def _encoder(options: argparse.Namespace, out: Path, device: torch.device, bar: _Bar, _: Group) -> list[Path]:
    generator = read_network(options.generator, "generator", device)
    perceptual = read_network(options.perceptual, "perceptual", device)
    network: Any = generator.module
    pictures = PictureFolder(Path(options.pictures), network.resolution)
    training = EncoderTraining.preset(options.preset, len(pictures), batch=options.batch, steps=options.steps)
    recipe = EncoderRecipe(channel_base=options.channel_base, channel_max=options.channel_max, hidden=options.hidden,
                           mirror=options.mirror, seed=options.seed, training=training)
    encoder = train_encoder(network, distance_of(perceptual.module), pictures, recipe, out, sample_every=options.sample_every,
                            identity={"generator": generator.fingerprint, "perceptual": perceptual.fingerprint}, on_step=bar)
    path = out / "encoder.safetensors"
    save_checkpoint(path, encoder, architecture="editgan-encoder", generator=generator.fingerprint)
    return [path]


def _label_branch(options: argparse.Namespace, out: Path, device: torch.device, bar: _Bar, _: Group) -> list[Path]:
    generator = read_network(options.generator, "generator", device)
    perceptual = read_network(options.perceptual, "perceptual", device)
    encoder = None if options.encoder is None else read_network(options.encoder, "encoder", device)
    network: Any = generator.module
    encode = None if encoder is None else embedder(encoder.module, network)
    pictures = PictureFolder(Path(options.pictures), network.resolution)
    labels = _read_labels(pictures, Path(options.labels), options.label_set)
    images = to_network(torch.stack([pictures[i] for i in range(len(pictures))])).to(device)
    recipe = LabelBranchRecipe(
        members=options.members, seed=options.seed, min_pixels=options.min_pixels,
        embedding=InversionSettings(steps=options.embedding_steps), training=SegmenterTraining(steps=options.steps))
    identity = {"generator": generator.fingerprint, "perceptual": perceptual.fingerprint,
                "encoder": None if encoder is None else encoder.fingerprint}
    found = train_label_branch(network, distance_of(perceptual.module), encode, images, labels, recipe, out, identity=identity,
                               on_step=bar)
    agreement = (found.predicted.ids == labels.ids).float().mean()
    sys.stderr.write(f"embedding: {found.psnr.mean():.1f} dB (worst {found.psnr.min():.1f}); "
                     f"{100 * agreement:.1f} % of the pixels labelled as annotated\n")
    path = out / "label_branch.safetensors"
    save_checkpoint(path, found.segmenter, architecture="editgan-segmenter", labels=labels.labels,
                    generator=generator.fingerprint, config={"feature_channels": list(network.feature_channels())})
    return [path]


def _read_labels(pictures: PictureFolder, folder: Path, label_set: str | None) -> LabelMap:
    """The label maps [N,R,R] of a folder's pictures: centre square, nearest pixel."""
    labels = None if label_set is None else read_label_set(Path(label_set))
    maps: list[torch.Tensor] = []
    size = pictures.resolution
    for name in pictures.names:
        path = (folder / name).with_suffix(".png")
        if not path.is_file():
            raise InvalidInputError(f"The picture {name} has no label map: {path} is missing.")
        read = from_png(path.read_bytes(), labels, where=str(path))
        if labels is not None:
            require_same_labels(read.labels, labels, f"{path} and the label maps before it")
        labels = labels or read.labels
        maps.append(labels_to_network(read, size).ids)
    if labels is None:
        raise InvalidInputError(f"{folder} holds no label maps.")
    return LabelMap(torch.cat(maps), labels)
