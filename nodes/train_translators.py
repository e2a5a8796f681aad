"""Training of translators in the graph: FUNIT from class folders, UNIT from two folders."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch

from ..pipelines.funit.data import ClassFolder, ClassStream
from ..pipelines.funit.network import Translator
from ..pipelines.funit.training import FunitRecipe, FunitSettings, train_funit
from ..pipelines.training.data import PictureFolder, first_pictures, seeded
from ..pipelines.training.log import grid
from ..pipelines.unit.shared import SharedRecipe, SharedSettings, train_shared
from ..pipelines.unit.training import UnitRecipe, UnitSettings, train_unit
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from .sockets import DomainTranslatorSocket, FewShotTranslatorSocket
from .training import folder_is_there, loss_curve, name_input, places, saved, seed_input

CATEGORY = "Atelier/Train"


def _common(*, resolution: int, batch: int, steps: int) -> list[io.Input]:
    return [host.node_input(io.Int, "resolution", default=resolution, min=32, max=1024, step=8,
                            tooltip="Side of the pictures, in pixels."),
            host.node_input(io.Int, "steps", default=steps, min=1, max=10_000_000, tooltip="Updates of the networks."),
            host.node_input(io.Int, "batch", default=batch, min=1, max=256, tooltip="Pictures per step and side."),
            host.node_input(io.Float, "learning_rate", default=0.0001, min=0.000001, max=0.1, step=0.00005,
                            tooltip="Rate of the optimiser, for all networks."),
            io.Boolean.Input("mirror", default=True, tooltip="Show half of the pictures mirrored."),
            seed_input(),
            host.node_input(io.Int, "width", default=64, min=4, max=256, advanced=True,
                            tooltip="Channels of the generator's first layer; 64 in the published networks."),
            host.node_input(io.Int, "discriminator_width", default=64, min=4, max=256, advanced=True,
                            tooltip="Channels of the discriminator's first layer; 64 in the published networks.")]


class TrainFUNIT(io.ComfyNode):
    """A few-shot translator from class folders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTrainFUNIT", display_name="Train FUNIT", category=CATEGORY, is_output_node=True,
            description="Trains a FUNIT from a folder of class folders. It learns to translate to classes it has never seen; "
                        "the more classes it is trained on, the better. Cancel at any time and queue again to go on.",
            search_aliases=["few-shot", "train translator"],
            inputs=[io.String.Input("pictures", default="classes", tooltip="A folder in the input folder that holds a folder "
                                    "of pictures per class."),
                    name_input("my_funit", "funit"), *_common(resolution=128, batch=8, steps=100_000),
                    host.node_input(io.Float, "reconstruction_weight", default=0.1, min=0.0, max=100.0, step=0.1, advanced=True,
                                    tooltip="Weight of drawing a picture again from its own content and class."),
                    host.node_input(io.Combo, "penalty", options=["published", "r1"], default="published", advanced=True,
                                    tooltip="Gradient penalty: of the mean over the batch, as published, or of each picture."),
                    host.node_input(io.Int, "shots", default=1, min=1, max=32, optional=True, advanced=True,
                                    tooltip="Pictures that show a class in a step: 1 as published; with 5, one to five, whose "
                                            "mean then learns as well."),
                    host.node_input(io.Int, "discriminator_first", default=0, min=0, max=100_000, optional=True, advanced=True,
                                    tooltip="Steps at the beginning that train the discriminator alone: a few hundred where a "
                                            "translator is trained further, as the discriminator is new."),
                    FewShotTranslatorSocket.Input("start", optional=True, tooltip="A translator to train further, an official "
                                                  "one for instance; its sizes count, not `width`.")],
            outputs=[FewShotTranslatorSocket.Output("translator", tooltip="The averaged translator."),
                     io.Image.Output("samples", tooltip="Content, class and translation below one another, 0..1."),
                     io.Image.Output("loss_curve", tooltip="The losses over the steps, 0..1.")])

    @classmethod
    def validate_inputs(cls, pictures: str | None) -> bool | str:
        return folder_is_there(pictures)

    @classmethod
    def execute(cls, pictures: str, name: str, resolution: int, steps: int, batch: int, learning_rate: float, mirror: bool,
                seed: int, width: int, discriminator_width: int, reconstruction_weight: float,
                penalty: Literal["published", "r1"], shots: int = 1, discriminator_first: int = 0,
                start: ModelHandle | None = None) -> io.NodeOutput:
        target, folder = places("funit", name)
        recipe = FunitRecipe(resolution=resolution, width=width, dis_width=discriminator_width, batch=batch, steps=steps,
                             mirror=mirror, seed=seed, shots=shots, settings=FunitSettings(
                                 reconstruction=reconstruction_weight, penalty_form=penalty, lr=learning_rate,
                                 discriminator_first=discriminator_first))
        source = ClassFolder(host.input_folder(pictures), resolution)
        with host.autograd():
            network = train_funit(source, recipe, folder, device=host.compute_device(),
                                  start=None if start is None else cast(Translator, start.acquire()),
                                  on_step=host.Progress(steps).on_step).ema
            shown = ClassStream(source, rng=seeded(seed), mirror=False).next(16)[0].to(host.compute_device())
            with torch.no_grad():
                drawn = network(shown[:8], network.class_codes(shown[8:]))
            handle = saved(target, network, "funit")
        return io.NodeOutput(handle, grid(torch.stack([shown[:8], shown[8:], drawn])), loss_curve(folder))


class TrainUNIT(io.ComfyNode):
    """A translator between the pictures of two folders."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTrainUNIT", display_name="Train UNIT", category=CATEGORY, is_output_node=True,
            description="Trains a UNIT on two folders of pictures that need not be pairs: days and nights, summers and "
                        "winters. Cancel at any time and queue again to go on.",
            search_aliases=["train translator", "unpaired"],
            inputs=[io.String.Input("pictures_a", default="a", tooltip="A folder in the input folder: the first domain."),
                    io.String.Input("pictures_b", default="b", tooltip="A folder in the input folder: the second domain."),
                    name_input("my_unit", "unit"), *_common(resolution=256, batch=1, steps=1_000_000),
                    host.node_input(io.Float, "cycle_weight", default=10.0, min=0.0, max=100.0, step=1.0, advanced=True,
                                    tooltip="Weight of coming back to the same picture by the other domain; ten times that in "
                                            "the shared form, whose weights are ten times as large."),
                    host.node_input(io.Combo, "form", options=["separate", "shared"], default="separate", advanced=True,
                                    tooltip="'separate' is the current release: one network per domain. 'shared' is the "
                                            "paper's: "
                                            "both domains have the middle layers in common.")],
            outputs=[DomainTranslatorSocket.Output("translator", tooltip="The translator."),
                     io.Image.Output("samples", tooltip="a, b, a to b and b to a below one another, 0..1."),
                     io.Image.Output("loss_curve", tooltip="The losses over the steps, 0..1.")])

    @classmethod
    def validate_inputs(cls, pictures_a: str | None, pictures_b: str | None) -> bool | str:
        first = folder_is_there(pictures_a)
        return folder_is_there(pictures_b) if first is True else first

    @classmethod
    def execute(cls, pictures_a: str, pictures_b: str, name: str, resolution: int, steps: int, batch: int,
                learning_rate: float, mirror: bool, seed: int, width: int, discriminator_width: int,
                cycle_weight: float, form: Literal["separate", "shared"] = "separate") -> io.NodeOutput:
        target, folder = places("unit", name)
        common: dict[str, Any] = {"resolution": resolution, "width": width, "dis_width": discriminator_width, "batch": batch,
                                  "steps": steps, "mirror": mirror, "seed": seed}
        a, b = (PictureFolder(host.input_folder(pictures), resolution) for pictures in (pictures_a, pictures_b))
        with host.autograd():
            device, on_step = host.compute_device(), host.Progress(steps).on_step
            if form == "shared":
                weights = SharedSettings(lr=learning_rate, cycle_likelihood=10 * cycle_weight,
                                         cycle_kl=0.1 if cycle_weight else 0.0)
                network = train_shared(a, b, SharedRecipe(**common, settings=weights), folder, device=device,
                                       on_step=on_step).domains
            else:
                settings = UnitSettings(lr=learning_rate, cycle=cycle_weight, cycle_kl=0.01 if cycle_weight else 0.0)
                network = train_unit(a, b, UnitRecipe(**common, settings=settings), folder, device=device,
                                     on_step=on_step).domains
            network.eval().requires_grad_(False)
            shown = [first_pictures(pictures, 8).to(device) for pictures in (a, b)]
            shown = [x[:min(map(len, shown))] for x in shown]
            with torch.no_grad():
                drawn = [network.translate(shown[0], "a to b"), network.translate(shown[1], "b to a")]
            handle = saved(target, network, "unit-shared" if form == "shared" else "unit")
        return io.NodeOutput(handle, grid(torch.stack([*shown, *drawn])), loss_curve(folder))


NODES = [TrainFUNIT, TrainUNIT]
