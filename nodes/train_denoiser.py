"""Training of a denoiser in the graph: on a folder of pictures, on one picture, on sound."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.crops import Crops, PictureCrops, PictureFiles, PicturesInMemory, SoundCrops, by_folder
from ..pipelines.langevin.position import Labels
from ..pipelines.langevin.training import (
    DenoiserJob,
    DenoiserRecipe,
    DenoiserSettings,
    stated,
    train_denoiser,
)
from ..pipelines.training.data import seeded
from ..pipelines.training.log import grid
from ..runtime import host
from ..runtime.host import io
from .sockets import DenoiserSocket, image_for_features
from .training import CATEGORY, folder_is_there, loss_curve, name_input, places, saved, seed_input

FEATURES = 6
"""Features of the position."""


def training_crops(folder: str, image: Tensor | None, audio: dict[str, Any] | None, *, crop: int, crop_samples: int,
                   classes: bool, positions: bool, mirror: bool) -> Crops:
    """What to train on: exactly one of a folder in the input folder, pictures, and a sound."""
    if sum((bool(folder), image is not None, audio is not None)) != 1:
        raise InvalidInputError("A denoiser is trained on one of three things: a folder, pictures at `image`, or a sound at "
                                "`audio`; give exactly one.")
    features = FEATURES if positions else 0
    if audio is not None:
        return SoundCrops(list(audio["waveform"]), crop_samples)
    if image is not None:
        levels = ((image_for_features(image).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).cpu()
        return PictureCrops(PicturesInMemory(list(levels)), crop, labels=Labels((), features), mirror=mirror)
    files = PictureFiles(host.input_folder(folder))
    chosen, names = by_folder(files) if classes else (None, ())
    return PictureCrops(files, crop, classes=chosen, labels=Labels(names, features), mirror=mirror)


class TrainDenoiser(io.ComfyNode):
    """A denoiser, the prior of the Langevin nodes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTrainDenoiser", display_name="Train Denoiser", category=CATEGORY, is_output_node=True,
            description="Trains a denoiser on random crops: of the pictures of a folder, of a single picture of your own, or "
                        "of a sound. The Langevin nodes then draw more of the same, of any size. Cancel at any time and queue "
                        "again to go on.",
            search_aliases=["train diffusion", "single image", "extend", "edm"],
            inputs=[io.String.Input("folder", default="", tooltip="A folder of pictures in the input folder; empty when "
                                    "`image` or `audio` is connected."),
                    name_input("my_denoiser", "denoisers"),
                    host.node_input(io.Int, "crop", default=64, min=16, max=512, step=8,
                                    tooltip="Side of the crops of pictures, in pixels: what the denoiser sees at once."),
                    host.node_input(io.Int, "steps", default=20_000, min=1, max=10_000_000, tooltip="Updates of the network."),
                    host.node_input(io.Int, "batch", default=16, min=1, max=1024, tooltip="Crops per step."),
                    host.node_input(io.Float, "learning_rate", default=0.001, min=0.000001, max=0.1, step=0.0001,
                                    tooltip="Rate of the optimiser."),
                    io.Boolean.Input("positions", default=True, tooltip="Tell the denoiser how high in its picture a crop "
                                     "lies: sky stays above, ground below. Not of sound."),
                    io.Boolean.Input("classes", default=False, tooltip="The folders in `folder` are classes, which the prior "
                                     "can be asked for by name."),
                    io.Boolean.Input("mirror", default=True, tooltip="Show half of the pictures mirrored."),
                    seed_input(),
                    host.node_input(io.Int, "width", default=32, min=8, max=512, step=8, advanced=True,
                                    tooltip="Channels of the network's first layer; of sound, eight times as many."),
                    host.node_input(io.Int, "crop_samples", default=8192, min=256, max=1_048_576, step=256, advanced=True,
                                    tooltip="Length of the crops of sound, in samples."),
                    host.node_input(io.Combo, "precision", options=["float32", "bfloat16"], default="float32", advanced=True,
                                    tooltip="Of the convolutions; bfloat16 is faster where the hardware has it."),
                    io.Image.Input("image", optional=True, tooltip="One picture, or several of one size, 0..1."),
                    io.Audio.Input("audio", optional=True, tooltip="Sounds of one length.")],
            outputs=[DenoiserSocket.Output("denoiser", tooltip="The averaged denoiser."),
                     io.Image.Output("samples", tooltip="A row of crops and rows drawn from noise, 0..1; of sound, "
                                     "spectrograms."),
                     io.Image.Output("loss_curve", tooltip="The loss over the steps, 0..1.")])

    @classmethod
    def validate_inputs(cls, folder: str | None) -> bool | str:
        return True if not folder else folder_is_there(folder)

    @classmethod
    def execute(cls, folder: str, name: str, crop: int, steps: int, batch: int, learning_rate: float, positions: bool,
                classes: bool, mirror: bool, seed: int, width: int, crop_samples: int,
                precision: Literal["float32", "bfloat16"], image: Tensor | None = None,
                audio: dict[str, Any] | None = None) -> io.NodeOutput:
        target, place = places("denoisers", name)
        with host.autograd():
            data = training_crops(folder, image, audio, crop=crop, crop_samples=crop_samples, classes=classes,
                                  positions=positions, mirror=mirror)
            recipe = DenoiserRecipe.preset(
                data, width=width * (8 if data.dims == 1 else 1), batch=batch, steps=steps, seed=seed,
                settings=DenoiserSettings(lr=learning_rate, precision=precision))
            trainer = train_denoiser(data, recipe, place, device=host.compute_device(), on_step=host.Progress(steps).on_step)
            if audio is not None:
                trainer.ema.sample_rate = int(audio["sample_rate"])
            samples = DenoiserJob(trainer, data, batch, rng=seeded(0)).samples(16)
            handle = saved(target, trainer.ema, "edm-denoiser", config=stated(trainer.ema))
        return io.NodeOutput(handle, grid(samples), loss_curve(place))


NODES = [TrainDenoiser]
