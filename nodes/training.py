"""Training in the graph: a StyleGAN2, its encoder, its label branch. Stopped trainings go on where they were."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from ..checkpoints.registry import save_checkpoint
from ..pipelines.editgan.inversion import InversionSettings
from ..pipelines.editgan.recipes import EncoderRecipe, LabelBranchRecipe, train_encoder, train_label_branch
from ..pipelines.editgan.training import PRESETS, EncoderTraining, SegmenterTraining
from ..pipelines.errors import AtelierError, InvalidInputError
from ..pipelines.labels import LabelMap
from ..pipelines.stylegan2.recipe import StyleGAN2Recipe, train_stylegan2
from ..pipelines.stylegan2.training import GanSettings
from ..pipelines.training.data import PictureFolder
from ..pipelines.training.log import grid, read_curves
from ..pipelines.training.loop import LOSSES
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle, load_model
from . import sockets
from .sockets import EncoderSocket, GeneratorSocket, LabelMapSocket, PerceptualSocket, SegmenterSocket

CATEGORY = "Atelier/Train"
PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def name_input(default: str, family: str) -> io.Input:
    return io.String.Input("name", default=default, tooltip=f"Name of the network: it is saved as "
                           f"models/atelier/{family}/NAME.safetensors, its state and curves in output/training. The same name "
                           f"and settings go on with an interrupted training.")


def seed_input() -> io.Input:
    return host.node_input(io.Int, "seed", default=0, min=0, max=2**31 - 1,
                           tooltip="Decides the initial weights, the order of the pictures and the latents.")


def _width_inputs() -> list[io.Input]:
    return [host.node_input(io.Int, "channel_base", default=16384, min=64, max=65536, step=64, advanced=True,
                            tooltip="Width: a layer at resolution r has channel_base / r feature channels ..."),
            host.node_input(io.Int, "channel_max", default=512, min=8, max=1024, step=8, advanced=True,
                            tooltip="... but no more than this.")]


def places(family: str, name: str) -> tuple[Path, Path]:
    """The file a network is saved in, and the folder of its training. A network of other origin is not overwritten."""
    target, folder = host.model_target(family, name), host.work_folder(f"training/{family}/{name}")
    if target.is_file() and not folder.is_dir():
        raise InvalidInputError(f"There is a model {target.name} in models/atelier/{family} already, which this training did "
                                f"not make; choose another name.")
    return target, folder


def folder_is_there(pictures: str | None) -> bool | str:
    try:
        return pictures is None or bool(host.input_folder(pictures))
    except AtelierError as error:
        return str(error)


def loss_curve(folder: Path) -> torch.Tensor:
    curve = read_curves(folder / LOSSES)
    return torch.ones(1, 1, 1, 3) if curve is None else curve


def saved(path: Path, module: nn.Module, architecture: str, **extra: object) -> ModelHandle:
    save_checkpoint(path, module, architecture=architecture, **extra)  # pyright: ignore[reportArgumentType]
    return load_model(path, differentiable=True)


class TrainStyleGAN2(io.ComfyNode):
    """A generator from a folder of pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTrainStyleGAN2", display_name="Train StyleGAN2", category=CATEGORY, is_output_node=True,
            description="Trains a StyleGAN2 from a folder of pictures. Useful results take thousands of pictures and a GPU "
                        "for hours to days; cancel at any time and queue again to go on with the same result.",
            search_aliases=["gan", "train generator"],
            inputs=[io.String.Input("pictures", default="pictures", tooltip="A folder in the input folder. The centre square "
                                    "of every picture in it and its subfolders is used."),
                    name_input("my_generator", "stylegan2"),
                    host.node_input(io.Combo, "resolution", options=["32", "64", "128", "256", "512", "1024"],
                                    default="256", tooltip="Side of the pictures, in pixels."),
                    host.node_input(io.Int, "thousand_images", default=1000, min=1, max=100_000, tooltip="Length of the "
                                    "training, in thousands of pictures shown to the discriminator."),
                    host.node_input(io.Int, "batch", default=16, min=1, max=256,
                                    tooltip="Pictures per step: 1 to 4, or a multiple of 8."),
                    host.node_input(io.Float, "learning_rate", default=0.002, min=0.00001, max=0.1, step=0.0005,
                                    tooltip="Rate of Adam, for both networks."),
                    host.node_input(io.Float, "r1_gamma", default=1.0, min=0.0, max=1000.0, step=0.1, tooltip="Weight of the "
                                    "R1 penalty; about 0.0002 times the pixels of a picture over the batch is a start."),
                    io.Boolean.Input("mirror", default=False, tooltip="Show half of the pictures mirrored. Not for pictures "
                                     "with writing or a meaningful left and right."),
                    seed_input(),
                    host.node_input(io.Int, "latent_size", default=512, min=8, max=1024, step=8, advanced=True,
                                    tooltip="Numbers in a latent z and in a row of W+."),
                    host.node_input(io.Int, "mapping_layers", default=8, min=1, max=16, advanced=True,
                                    tooltip="Layers of the mapping network from z to w."),
                    *_width_inputs(),
                    host.node_input(io.Combo, "precision", options=list(PRECISIONS), default="bfloat16", advanced=True,
                                    tooltip="Number type of the convolutions.")],
            outputs=[GeneratorSocket.Output("generator", tooltip="The averaged generator."),
                     PerceptualSocket.Output("perceptual", tooltip="Its discriminator, as perceptual distance."),
                     io.Image.Output("samples", tooltip="Pictures of the generator, 0..1."),
                     io.Image.Output("loss_curve", tooltip="The losses over the steps, 0..1.")])

    @classmethod
    def validate_inputs(cls, pictures: str | None) -> bool | str:
        return folder_is_there(pictures)

    @classmethod
    def execute(cls, pictures: str, name: str, resolution: str, thousand_images: int, batch: int, learning_rate: float,
                r1_gamma: float, mirror: bool, seed: int, latent_size: int, mapping_layers: int, channel_base: int,
                channel_max: int, precision: str) -> io.NodeOutput:
        (target, folder), judge = places("stylegan2", name), host.model_target("perceptual", name)
        if judge.is_file() and not folder.is_dir():
            raise InvalidInputError(f"There is a model {judge.name} in models/atelier/perceptual already, which this training "
                                    f"did not make; choose another name.")
        recipe = StyleGAN2Recipe(
            resolution=int(resolution), images=1000 * thousand_images, batch=batch, z_dim=latent_size, w_dim=latent_size,
            mapping_layers=mapping_layers, channel_base=channel_base, channel_max=channel_max, mirror=mirror, seed=seed,
            gan=GanSettings(lr=learning_rate, r1_gamma=r1_gamma, dtype=PRECISIONS[precision]))
        source = PictureFolder(host.input_folder(pictures), recipe.resolution)
        with host.autograd():
            trainer = train_stylegan2(source, recipe, folder, device=host.compute_device(),
                                      on_step=host.Progress(recipe.steps).on_step)
            z = torch.randn(8, latent_size, generator=torch.Generator().manual_seed(seed)).to(host.compute_device())
            with torch.no_grad():
                samples = trainer.ema(z, noise="none")
            generator = saved(target, trainer.ema, "stylegan2-generator")
            perceptual = saved(judge, trainer.discriminator, "stylegan2-discriminator", generator=generator.fingerprint)
        return io.NodeOutput(generator, perceptual, sockets.network_to_image(samples), loss_curve(folder))


class TrainEncoder(io.ComfyNode):
    """An encoder for a generator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTrainEncoder", display_name="Train Encoder", category=CATEGORY, is_output_node=True,
            description="Trains the encoder from pictures to W+ of a generator: squared and perceptual distance of the "
                        "reconstruction, and the known codes of the generator's own pictures.",
            inputs=[GeneratorSocket.Input("generator", tooltip="Generator to encode for."),
                    PerceptualSocket.Input("perceptual", tooltip="Distance that the reconstruction lowers."),
                    io.String.Input("pictures", default="pictures", tooltip="A folder in the input folder with pictures of "
                                    "what the generator draws; their centre squares are used."),
                    name_input("my_encoder", "encoders"),
                    host.node_input(io.Combo, "preset", options=list(PRESETS), default="ours", tooltip="ours: both kinds of "
                                    "pictures in one update, falling rate, averaged weights. official: EditGAN's schedule, "
                                    "constant rate 3e-5, real pictures from the seventh epoch on."),
                    host.node_input(io.Int, "steps", default=3000, min=1, max=10_000_000, tooltip="Length of the training; "
                                    "the official schedule takes 100 epochs."),
                    host.node_input(io.Int, "batch", default=8, min=1, max=256, tooltip="Real pictures per step, and with "
                                    "'ours' as many sampled ones; 'official' samples 2."),
                    io.Boolean.Input("mirror", default=False, tooltip="Show half of the pictures mirrored."),
                    seed_input(),
                    *_width_inputs(),
                    host.node_input(io.Int, "hidden", default=512, min=8, max=4096, step=8, advanced=True,
                                    tooltip="Width of the last layer but one.")],
            outputs=[EncoderSocket.Output("encoder", tooltip="The encoder."),
                     io.Image.Output("samples", tooltip="Pictures over their reconstructions by the encoder alone, 0..1."),
                     io.Image.Output("loss_curve", tooltip="The losses over the steps, 0..1.")])

    @classmethod
    def validate_inputs(cls, pictures: str | None) -> bool | str:
        return folder_is_there(pictures)

    @classmethod
    def execute(cls, generator: ModelHandle, perceptual: ModelHandle, pictures: str, name: str, preset: str, steps: int,
                batch: int, mirror: bool, seed: int, channel_base: int, channel_max: int, hidden: int) -> io.NodeOutput:
        target, folder = places("encoders", name)
        networks = sockets.acquire_generator(generator), sockets.acquire_perceptual(perceptual)
        source = PictureFolder(host.input_folder(pictures), networks[0].resolution)
        recipe = EncoderRecipe(channel_base=channel_base, channel_max=channel_max, hidden=hidden, mirror=mirror, seed=seed,
                               training=EncoderTraining.preset(preset, len(source), batch=batch, steps=steps))
        with host.autograd():
            encoder = train_encoder(*networks, source, recipe, folder, on_step=host.Progress(steps).on_step,
                                    identity={"generator": generator.fingerprint, "perceptual": perceptual.fingerprint})
            shown = torch.stack([source[i] for i in range(min(8, len(source)))]).to(generator.device) / 127.5 - 1
            with torch.no_grad():
                drawn = networks[0].synthesis(encoder(shown), noise="none")[0]
            handle = saved(target, encoder, "editgan-encoder", generator=generator.fingerprint)
        return io.NodeOutput(handle, grid(torch.stack([shown, drawn])), loss_curve(folder))


class TrainLabelBranch(io.ComfyNode):
    """A label branch from a handful of annotated pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTrainLabelBranch", display_name="Train Label Branch", category=CATEGORY, is_output_node=True,
            description="Trains the part labels of a generator from a few annotated pictures (16 are often enough): embeds "
                        "them in W+, then trains an ensemble of pixel classifiers on the generator's features.",
            search_aliases=["segmentation", "datasetgan"],
            inputs=[io.Image.Input("image", tooltip="The annotated pictures; their centre squares are used."),
                    LabelMapSocket.Input("label_map", tooltip="One label map per picture, of the picture's size or the "
                                         "generator's."),
                    GeneratorSocket.Input("generator", tooltip="Generator whose pictures shall be labelled."),
                    PerceptualSocket.Input("perceptual", tooltip="Distance that the embedding lowers."),
                    name_input("my_label_branch", "label_branches"),
                    host.node_input(io.Int, "members", default=10, min=1, max=64,
                                    tooltip="Classifiers of the ensemble; their disagreement shows where labels are unsure."),
                    host.node_input(io.Int, "steps", default=1500, min=1, max=1_000_000, tooltip="Updates of each member."),
                    host.node_input(io.Int, "embedding_steps", default=300, min=0, max=10_000,
                                    tooltip="Optimisation steps of the embedding of each picture."),
                    host.node_input(io.Float, "learning_rate", default=0.001, min=0.00001, max=0.1, step=0.0005,
                                    tooltip="Peak rate of Adam; it falls to zero."),
                    host.node_input(io.Int, "pixels", default=1024, min=2, max=65536, tooltip="Pixels per update."),
                    host.node_input(io.Float, "balance", default=0.5, min=0.0, max=1.0, step=0.05, tooltip="0 draws every "
                                    "pixel equally often, as the official code does; 1 every label."),
                    host.node_input(io.Int, "min_pixels", default=0, min=0, max=65536, advanced=True, tooltip="A part with "
                                    "fewer pixels in a picture is taken as background there; officially 30 at 384x512."),
                    seed_input(),
                    EncoderSocket.Input("encoder", optional=True, tooltip="Encoder that the embedding begins with; without "
                                        "it, it begins at the average picture and needs more steps.")],
            outputs=[SegmenterSocket.Output("segmenter", tooltip="The label branch."),
                     LabelMapSocket.Output("label_map", tooltip="What it makes of the annotated pictures."),
                     io.Image.Output("reconstruction", tooltip="The pictures as the generator draws them, 0..1: where they "
                                     "differ from those given, the annotation does not fit."),
                     io.Mask.Output("disagreement", tooltip="Jensen-Shannon divergence of the members over its maximum, the "
                                    "logarithm of their number; 0..1."),
                     io.Image.Output("loss_curve", tooltip="The cross-entropy over the steps, member after member, 0..1.")])

    @classmethod
    def execute(cls, image: torch.Tensor, label_map: LabelMap, generator: ModelHandle, perceptual: ModelHandle, name: str,
                members: int, steps: int, embedding_steps: int, learning_rate: float, pixels: int, balance: float,
                min_pixels: int, seed: int, encoder: ModelHandle | None = None) -> io.NodeOutput:
        target, folder = places("label_branches", name)
        network, distance = sockets.acquire_generator(generator), sockets.acquire_perceptual(perceptual)
        encode = None if encoder is None else sockets.acquire_encoder(encoder, network)
        recipe = LabelBranchRecipe(
            members=members, seed=seed, min_pixels=min_pixels, embedding=InversionSettings(steps=embedding_steps),
            training=SegmenterTraining(steps=steps, pixels=pixels, lr=learning_rate, balance=balance))
        identity = {"generator": generator.fingerprint, "perceptual": perceptual.fingerprint,
                    "encoder": None if encoder is None else encoder.fingerprint}
        progress = host.Progress(recipe.steps(len(image)))
        with host.autograd():
            images = sockets.image_to_network(image.clone(), network.resolution).to(generator.device)
            labels = sockets.labels_to_network(label_map, network.resolution)
            found = train_label_branch(network, distance, encode, images, labels, recipe, folder, identity=identity,
                                       on_step=progress.on_step)
            handle = saved(target, found.segmenter, "editgan-segmenter", labels=label_map.labels,
                           generator=generator.fingerprint, config={"feature_channels": list(network.feature_channels())})
        unsure = (found.disagreement / math.log(members)).clamp(0, 1) if members > 1 else found.disagreement
        return io.NodeOutput(handle, found.predicted, sockets.network_to_image(found.pictures), unsure, loss_curve(folder))


NODES = [TrainStyleGAN2, TrainEncoder, TrainLabelBranch]
