"""EditGAN in the graph: encode, sample, generate, optimise, apply."""

from __future__ import annotations

import torch

from ..pipelines.editgan.editing import EditLoss, EditSettings, edit_region, optimise_edit
from ..pipelines.editgan.inversion import InversionSettings, refine_codes
from ..pipelines.editgan.latents import WPlus, require_same_generator
from ..pipelines.editgan.vectors import EditVector, apply_vector
from ..pipelines.errors import InvalidInputError
from ..pipelines.labels import LabelMap, require_same_labels
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from . import sockets
from .sockets import (
    EditVectorSocket,
    EncoderSocket,
    GeneratorSocket,
    LabelMapSocket,
    PerceptualSocket,
    SegmenterSocket,
    WPlusSocket,
)

CATEGORY = "Atelier/EditGAN"
LAST_ROW = 17
"""The last W+ row of the largest (1024x1024) generators."""


def split_names(text: str) -> list[str]:
    """'tyre, hub' -> ['tyre', 'hub']."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _rows(first: int, last: int, count: int) -> tuple[int, int] | None:
    last = min(last, count - 1)
    return None if (first, last) == (0, count - 1) else (first, last)


class SampleLatents(io.ComfyNode):
    """Random W+ codes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierSampleLatents", display_name="Sample Latents", category=CATEGORY,
            description="Draws random pictures of a generator, as W+ codes.",
            inputs=[GeneratorSocket.Input("generator", tooltip="Generator to draw from."),
                    host.node_input(io.Int, "seed", default=0, min=0, max=2**63 - 1, control_after_generate=True,
                                    tooltip="Picture i is drawn from seed + i, whatever the count."),
                    host.node_input(io.Int, "count", default=4, min=1, max=64, tooltip="Number of pictures."),
                    host.node_input(io.Float, "psi", default=0.7, min=0.0, max=1.5, step=0.05,
                                    tooltip="Truncation: 0 is the average picture, 1 the full variety.")],
            outputs=[WPlusSocket.Output("w_plus", tooltip="W+ codes [count, num_ws, w_dim].")])

    @classmethod
    def execute(cls, generator: ModelHandle, seed: int, count: int, psi: float) -> io.NodeOutput:
        network = sockets.acquire_generator(generator)
        z = torch.stack([torch.randn(network.z_dim, generator=torch.Generator().manual_seed((seed + i) % 2**63))
                         for i in range(count)])
        codes = network.map(z.to(generator.device), psi=psi)
        return io.NodeOutput(WPlus(codes.float().cpu().contiguous(), generator.fingerprint))


class EncodeToWPlus(io.ComfyNode):
    """A picture's W+ codes: the encoder's guess, refined by optimisation."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierEncodeToWPlus", display_name="Encode to W+", category=CATEGORY,
            description="Finds the W+ codes with which the generator draws the given picture: one pass of the encoder, "
                        "then optimisation. The centre square of the picture is used, at the generator's resolution.",
            search_aliases=["invert", "inversion", "projector"],
            inputs=[io.Image.Input("image", tooltip="Pictures to encode; each is encoded by itself."),
                    GeneratorSocket.Input("generator", tooltip="Generator to encode for."),
                    EncoderSocket.Input("encoder", tooltip="Encoder trained for this generator."),
                    PerceptualSocket.Input("perceptual", tooltip="Distance that the optimisation lowers."),
                    host.node_input(io.Int, "steps", default=100, min=0, max=2000,
                                    tooltip="Optimisation steps after the encoder; 0 keeps the encoder's codes."),
                    host.node_input(io.Float, "learning_rate", default=0.1, min=0.001, max=1.0, step=0.005,
                                    tooltip="Peak rate of Adam, in units of w."),
                    host.node_input(io.Float, "anchor", default=0.0, min=0.0, max=100.0, step=0.05, advanced=True,
                                    tooltip="Pull towards the encoder's codes. More keeps the codes where edits work "
                                            "well, less reproduces the picture more exactly.")],
            outputs=[WPlusSocket.Output("w_plus", tooltip="W+ codes of the pictures."),
                     io.Image.Output("reconstruction", tooltip="What the generator draws from the codes, 0..1.")])

    @classmethod
    def execute(cls, image: torch.Tensor, generator: ModelHandle, encoder: ModelHandle, perceptual: ModelHandle,
                steps: int, learning_rate: float, anchor: float) -> io.NodeOutput:
        networks = (sockets.acquire_generator(generator), sockets.acquire_encoder(encoder),
                    sockets.acquire_perceptual(perceptual))
        progress = host.Progress(max(steps, 1))
        with host.autograd():
            network, encode, distance = networks
            images = sockets.image_to_network(image.clone(), network.resolution).to(generator.device)
            with torch.no_grad():
                start = encode(images)
            settings = InversionSettings(steps=steps, lr=learning_rate, anchor=anchor)
            codes = refine_codes(network, distance, images, start, settings, on_step=progress.on_step).codes
            with torch.no_grad():
                drawn = network.synthesis(codes)[0]
        return io.NodeOutput(WPlus(codes.detach().cpu(), generator.fingerprint), sockets.network_to_image(drawn))


class Generate(io.ComfyNode):
    """W+ codes to pictures and their part labels."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierGenerate", display_name="Generate", category=CATEGORY,
            description="Draws the pictures of W+ codes and predicts the part label of every pixel.",
            inputs=[GeneratorSocket.Input("generator", tooltip="Generator the codes belong to."),
                    SegmenterSocket.Input("segmenter", tooltip="Label branch trained for this generator."),
                    WPlusSocket.Input("w_plus", tooltip="W+ codes of this generator.")],
            outputs=[io.Image.Output("image", tooltip="The pictures, 0..1."),
                     LabelMapSocket.Output("label_map", tooltip="One part label per pixel.")])

    @classmethod
    def execute(cls, generator: ModelHandle, segmenter: ModelHandle, w_plus: WPlus) -> io.NodeOutput:
        require_same_generator(w_plus.fingerprint, generator.fingerprint, "The W+ input")
        network, branch = sockets.acquire_generator(generator), sockets.acquire_segmenter(segmenter)
        images: list[torch.Tensor] = []
        maps: list[torch.Tensor] = []
        for codes in w_plus.codes.to(generator.device):
            host.check_cancel()
            image, features = network.synthesis(codes[None], noise=w_plus.noise or "const")
            images.append(sockets.network_to_image(image))
            maps.append(branch.label_ids(features).cpu())
        return io.NodeOutput(torch.cat(images), LabelMap(torch.cat(maps), segmenter.require_labels()))


class OptimiseEditVector(io.ComfyNode):
    """The W+ change that turns the predicted label map into the given one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def weight(name: str, default: float, what: str) -> io.Input:
            return host.node_input(io.Float, name, default=default, min=0.0, max=1000.0, step=0.5, advanced=True,
                                   tooltip=what)

        return host.schema(
            node_id="AtelierOptimiseEditVector", display_name="Optimise Edit Vector", category=CATEGORY,
            description="Searches the smallest-effect change of the W+ codes that gives the picture the new part labels "
                        "inside the edited region and keeps it as it was outside.",
            search_aliases=["editgan", "semantic edit"],
            inputs=[GeneratorSocket.Input("generator", tooltip="Generator the codes belong to."),
                    SegmenterSocket.Input("segmenter", tooltip="Label branch that judges the edit."),
                    PerceptualSocket.Input("perceptual", tooltip="Distance that guards the picture outside the region."),
                    WPlusSocket.Input("w_plus", tooltip="Codes of the picture to edit."),
                    LabelMapSocket.Input("label_map", tooltip="The part labels the picture shall have."),
                    io.String.Input("name", default="edit", tooltip="Name of the edit vector."),
                    io.String.Input("edited_labels", default="", tooltip="Parts the edit is about, separated by commas: "
                                    "the region is where they were or shall be. Empty: the region is the pixels that changed."),
                    host.node_input(io.Int, "steps", default=60, min=1, max=2000, tooltip="Optimisation steps."),
                    host.node_input(io.Float, "learning_rate", default=0.02, min=0.0001, max=1.0, step=0.005,
                                    tooltip="Rate of Adam, in units of w."),
                    host.node_input(io.Int, "dilation", default=3, min=0, max=64,
                                    tooltip="Pixels by which the region grows before it is used."),
                    weight("outside_weight", 15.0, "Weight of keeping the picture outside the region."),
                    weight("inside_weight", 1.0, "Weight of reaching the labels inside the region."),
                    weight("perceptual_weight", 10.0, "Share of the perceptual distance in keeping the picture."),
                    weight("mse_weight", 5.0, "Share of the squared difference in keeping the picture."),
                    host.node_input(io.Int, "first_row", default=0, min=0, max=LAST_ROW, advanced=True,
                                    tooltip="First W+ row that may change; low rows hold coarse shape."),
                    host.node_input(io.Int, "last_row", default=LAST_ROW, min=0, max=LAST_ROW, advanced=True,
                                    tooltip="Last W+ row that may change; high rows hold colour and fine detail.")],
            outputs=[WPlusSocket.Output("w_plus", tooltip="Codes of the edited pictures."),
                     EditVectorSocket.Output("edit_vector", tooltip="The change; of a batch, the mean change."),
                     io.Image.Output("image", tooltip="The edited pictures, 0..1."),
                     io.Mask.Output("region", tooltip="Where the labels were asked to change, dilated; 0 or 1.")])

    @classmethod
    def execute(cls, generator: ModelHandle, segmenter: ModelHandle, perceptual: ModelHandle, w_plus: WPlus,
                label_map: LabelMap, name: str, edited_labels: str, steps: int, learning_rate: float, dilation: int,
                outside_weight: float, inside_weight: float, perceptual_weight: float, mse_weight: float, first_row: int,
                last_row: int) -> io.NodeOutput:
        require_same_generator(w_plus.fingerprint, generator.fingerprint, "The W+ input")
        require_same_labels(label_map.labels, segmenter.require_labels(), "Optimise Edit Vector")
        networks = (sockets.acquire_generator(generator), sockets.acquire_segmenter(segmenter),
                    sockets.acquire_perceptual(perceptual))
        progress = host.Progress(steps)
        with host.autograd():
            network, branch, distance = networks
            start = w_plus.codes.clone().to(generator.device)
            target = label_map.ids.clone().to(generator.device)
            settings = EditSettings(steps=steps, lr=learning_rate, rgb=outside_weight, perceptual=perceptual_weight,
                                    mse=mse_weight, cross_entropy=inside_weight,
                                    rows=_rows(first_row, last_row, network.num_ws))
            with torch.no_grad():
                before = branch.label_ids(network.synthesis(start)[1])
            if before.shape != target.shape:
                raise InvalidInputError(f"The label map is {list(target.shape)} (pictures, height, width) and the W+ "
                                        f"codes give {list(before.shape)}; make it from these codes with Generate.")
            names = split_names(edited_labels)
            edited = label_map.labels.indices(names) if names else None
            region = edit_region(before, target, edited, dilation=dilation)
            loss = EditLoss(network, branch, distance, start, target, region, settings)
            edit = optimise_edit(loss, start, on_step=progress.on_step)
            codes = start + edit.delta
            with torch.no_grad():
                image = network.synthesis(codes)[0]
        vector = EditVector(
            edit.delta.mean(dim=0).cpu(), name=name, fingerprint=generator.fingerprint,
            labels=tuple(names),
            provenance={"pictures": len(start), "steps": steps, "learning_rate": learning_rate, "dilation": dilation,
                        "weights": {"outside": outside_weight, "inside": inside_weight, "perceptual": perceptual_weight,
                                    "mse": mse_weight},
                        "loss": float(edit.loss.mean())})
        return io.NodeOutput(w_plus.with_codes(codes.detach().cpu()), vector, sockets.network_to_image(image),
                             sockets.to_mask(region))


class ApplyEditVector(io.ComfyNode):
    """Move W+ codes along an edit vector."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierApplyEditVector", display_name="Apply Edit Vector", category=CATEGORY,
            description="Adds strength times the edit vector to the W+ codes. No optimisation: this runs in real time.",
            inputs=[WPlusSocket.Input("w_plus", tooltip="Codes of the pictures to edit."),
                    EditVectorSocket.Input("edit_vector", tooltip="Edit vector of the same generator."),
                    host.node_input(io.Float, "strength", default=1.0, min=-4.0, max=4.0, step=0.05,
                                    display_mode=io.NumberDisplay.slider,
                                    tooltip="0 changes nothing, 1 is the edit as optimised, -1 its opposite."),
                    host.node_input(io.Int, "first_row", default=0, min=0, max=LAST_ROW, advanced=True,
                                    tooltip="First W+ row to change; low rows hold coarse shape."),
                    host.node_input(io.Int, "last_row", default=LAST_ROW, min=0, max=LAST_ROW, advanced=True,
                                    tooltip="Last W+ row to change; high rows hold colour and fine detail.")],
            outputs=[WPlusSocket.Output("w_plus", tooltip="Codes of the edited pictures.")])

    @classmethod
    def execute(cls, w_plus: WPlus, edit_vector: EditVector, strength: float, first_row: int,
                last_row: int) -> io.NodeOutput:
        rows = _rows(first_row, last_row, w_plus.codes.shape[1])
        return io.NodeOutput(apply_vector(w_plus, edit_vector, strength, rows=rows))


class SweepEditVector(io.ComfyNode):
    """One picture at several strengths of an edit vector."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def strength(name: str, default: float, what: str) -> io.Input:
            return host.node_input(io.Float, name, default=default, min=-4.0, max=4.0, step=0.05, tooltip=what)

        return host.schema(
            node_id="AtelierSweepEditVector", display_name="Sweep Edit Vector", category=CATEGORY,
            description="Applies an edit vector at evenly spaced strengths: a strip of pictures from one.",
            inputs=[WPlusSocket.Input("w_plus", tooltip="Codes of the pictures to edit."),
                    EditVectorSocket.Input("edit_vector", tooltip="Edit vector of the same generator."),
                    strength("first", -1.0, "Strength of the first picture."),
                    strength("last", 2.0, "Strength of the last picture."),
                    host.node_input(io.Int, "count", default=4, min=2, max=32, tooltip="Strengths per picture.")],
            outputs=[WPlusSocket.Output("w_plus", tooltip="Codes, picture by picture, each at every strength.")])

    @classmethod
    def execute(cls, w_plus: WPlus, edit_vector: EditVector, first: float, last: float, count: int) -> io.NodeOutput:
        swept = [apply_vector(w_plus, edit_vector, first + (last - first) * i / (count - 1)).codes for i in range(count)]
        return io.NodeOutput(w_plus.with_codes(torch.stack(swept, dim=1).flatten(0, 1)))


NODES = [SampleLatents, EncodeToWPlus, Generate, OptimiseEditVector, ApplyEditVector, SweepEditVector]
