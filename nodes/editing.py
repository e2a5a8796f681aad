"""EditGAN's three modes in the graph: optimise an edit, refine a vector, apply vectors in real time."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..pipelines.curves import plot_curves
from ..pipelines.editgan.editing import (
    FIXED,
    OFFICIAL,
    Edit,
    EditLoss,
    EditSettings,
    EditState,
    edit_region,
    optimise_edit,
    refinement,
)
from ..pipelines.editgan.latents import WPlus
from ..pipelines.editgan.state_file import load_state, save_state
from ..pipelines.editgan.vectors import EditVector, apply_vector
from ..pipelines.errors import InvalidInputError
from ..pipelines.labels import LabelMap, require_same_labels
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from . import sockets
from .live_edit import LiveEdit
from .sockets import (
    EditStateSocket,
    EditVectorSocket,
    EncoderSocket,
    GeneratorSocket,
    IdentitySocket,
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


def _weight(name: str, default: float, what: str, *, optional: bool = False) -> io.Input:
    return host.node_input(io.Float, name, default=default, min=0.0, max=1000.0, step=0.5, advanced=True, tooltip=what,
                           optional=optional)


def _curve(edit: Edit) -> torch.Tensor:
    count = edit.curve.shape[1]
    names = ["loss"] if count == 1 else [f"picture {i + 1}" for i in range(count)]
    return plot_curves(list(zip(names, edit.curve.unbind(dim=1), strict=True)))


def _vector(edit: Edit, name: str, generator: ModelHandle, labels: list[str], settings: EditSettings,
            dilation: int, edit_type: str) -> EditVector:
    weights = {"outside": settings.rgb, "inside": settings.cross_entropy, "perceptual": settings.perceptual,
               "mse": settings.mse, "encoder": settings.encoder, "identity": settings.identity}
    return EditVector(edit.delta.detach().mean(dim=0).cpu(), name=name, fingerprint=generator.fingerprint,
                      generator=generator.name, edit_type=edit_type, labels=tuple(labels),
                      provenance={"pictures": len(edit.delta), "steps": edit.state.step, "learning_rate": settings.lr,
                                  "dilation": dilation, "weights": weights, "loss": float(edit.loss.mean())})


class OptimiseEditVector(io.ComfyNode):
    """The W+ change that turns the predicted label map into the given one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierOptimiseEditVector", display_name="Optimise Edit Vector", category=CATEGORY,
            description="Searches the change of the W+ codes that gives the picture the new part labels inside the edited "
                        "region and keeps it as it was outside.",
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
                    _weight("outside_weight", 15.0, "Weight of keeping the picture outside the region."),
                    _weight("inside_weight", 1.0, "Weight of reaching the labels inside the region."),
                    _weight("perceptual_weight", 10.0, "Share of the perceptual distance in keeping the picture."),
                    _weight("mse_weight", 5.0, "Share of the squared difference in keeping the picture."),
                    host.node_input(io.Int, "first_row", default=0, min=0, max=LAST_ROW, advanced=True,
                                    tooltip="First W+ row that may change; low rows hold coarse shape."),
                    host.node_input(io.Int, "last_row", default=LAST_ROW, min=0, max=LAST_ROW, advanced=True,
                                    tooltip="Last W+ row that may change; high rows hold colour and fine detail."),
                    host.node_input(io.Combo, "preset", options=["fixed", "official"], default="fixed", optional=True,
                                    advanced=True, tooltip="'fixed' uses the numbers above and keeps the codes of the lowest "
                                    "loss. 'official' does exactly what EditGAN's tool does, with its numbers instead of "
                                    "those above: 29 updates, nearest features, the last codes; it needs the encoder."),
                    _weight("encoder_weight", 0.0, "Pull towards the encoder's codes of the current picture; needs the "
                                                   "encoder input.", optional=True),
                    _weight("identity_weight", 0.0, "Weight of who is shown, for faces; needs the identity input.",
                            optional=True),
                    host.node_input(io.Int, "patience", default=0, min=0, max=1000, optional=True, advanced=True,
                                    tooltip="A picture ends after so many steps without a new lowest loss; 0: never."),
                    EncoderSocket.Input("encoder", optional=True, tooltip="Encoder of this generator, for its term."),
                    IdentitySocket.Input("identity", optional=True, tooltip="Face recognition network, for its term."),
                    EditStateSocket.Input("state", optional=True, tooltip="Where an earlier run of this edit stopped: goes "
                                                                          "on from there for `steps` more steps."),
                    host.node_input(io.Int, "live_steps", default=0, min=0, max=2000, optional=True, advanced=True,
                                    tooltip="For painting with the queue set to run on change: after a small change of the "
                                            "label map the edit goes on from this node's last result for so many steps. "
                                            "What comes out then depends on what was painted before. 0: always from the "
                                            "beginning.")],
            hidden=[io.Hidden.unique_id],
            outputs=[WPlusSocket.Output("w_plus", tooltip="Codes of the edited pictures."),
                     EditVectorSocket.Output("edit_vector", tooltip="The change; of a batch, the mean change."),
                     io.Image.Output("image", tooltip="The edited pictures, 0..1."),
                     io.Mask.Output("region", tooltip="Where the labels were asked to change, dilated; 0 or 1."),
                     io.Image.Output("curve", tooltip="The loss over the steps, as a picture."),
                     EditStateSocket.Output("state", tooltip="Where the edit stands, to go on from.")])

    @classmethod
    def execute(cls, generator: ModelHandle, segmenter: ModelHandle, perceptual: ModelHandle, w_plus: WPlus,
                label_map: LabelMap, name: str, edited_labels: str, steps: int, learning_rate: float, dilation: int,
                outside_weight: float, inside_weight: float, perceptual_weight: float, mse_weight: float, first_row: int,
                last_row: int, preset: str = "fixed", encoder_weight: float = 0.0, identity_weight: float = 0.0,
                patience: int = 0, encoder: ModelHandle | None = None, identity: ModelHandle | None = None,
                state: EditState | None = None, live_steps: int = 0) -> io.NodeOutput:
        sockets.require_codes_of(w_plus, generator)
        require_same_labels(label_map.labels, segmenter.require_labels(), "Optimise Edit Vector")
        network, branch = sockets.acquire_generator(generator), sockets.acquire_segmenter(segmenter)
        distance = sockets.acquire_perceptual(perceptual)
        encode = None if encoder is None else sockets.acquire_encoder(encoder, network, official=preset == "official")
        identify = None if identity is None else sockets.acquire_identity(identity)
        settings, names = OFFICIAL, list[str]()
        if preset == "fixed":
            names = split_names(edited_labels)
            settings = replace(FIXED, steps=steps, lr=learning_rate, rgb=outside_weight, perceptual=perceptual_weight,
                               mse=mse_weight, cross_entropy=inside_weight, encoder=encoder_weight,
                               identity=identity_weight, patience=patience,
                               rows=_rows(first_row, last_row, network.num_ws))
        elif encode is not None:
            dilation = 3
        with host.autograd():
            start, noise = sockets.placed(w_plus, generator)
            target = label_map.ids.clone().to(generator.device)
            with torch.no_grad():
                before = branch.label_ids(network.synthesis(start, noise=noise)[1])
            if before.shape != target.shape:
                raise InvalidInputError(f"The label map is {list(target.shape)} (pictures, height, width) and the W+ "
                                        f"codes give {list(before.shape)}; make it from these codes with Generate.")
            edited = label_map.labels.indices(names) if names else None
            region = edit_region(before, target, edited, dilation=dilation)
            live = LiveEdit(cls.hidden.unique_id or "", live_steps, start, target, (
                generator.fingerprint, segmenter.fingerprint, perceptual.fingerprint, settings, dilation, names))
            if live_steps and not bool(region.any()):
                edit = live.unedited()
            else:
                settings = live.settings(settings)
                loss = EditLoss(network, branch, distance, start, target, region, settings, noise=noise, encode=encode,
                                identify=identify)
                progress = host.Progress(settings.steps)
                edit = optimise_edit(loss, start, initial=live.initial, state=sockets.state_on(state, generator),
                                     on_step=progress.on_step)
                live.remember(edit)
            codes = start + edit.delta
            with torch.no_grad():
                image = network.synthesis(codes, noise=noise)[0]
        vector = _vector(edit, name, generator, names, settings, dilation, "optimised")
        return io.NodeOutput(w_plus.with_codes(codes.detach().cpu()), vector, sockets.network_to_image(image),
                             sockets.to_mask(region), _curve(edit), sockets.state_on(edit.state, None))


class RefineEdit(io.ComfyNode):
    """A vector on another picture, then a few steps that mend what it disturbed."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierRefineEdit", display_name="Refine Edit", category=CATEGORY,
            description="Applies an edit vector and then optimises for a few steps: the part labels the vector gave are "
                        "kept inside the region, and the picture outside it becomes what it was before.",
            search_aliases=["self-supervised refinement", "editgan"],
            inputs=[GeneratorSocket.Input("generator", tooltip="Generator the codes belong to."),
                    SegmenterSocket.Input("segmenter", tooltip="Label branch that reads the target from the moved picture."),
                    PerceptualSocket.Input("perceptual", tooltip="Distance that guards the picture outside the region."),
                    WPlusSocket.Input("w_plus", tooltip="Codes of the pictures to edit."),
                    EditVectorSocket.Input("edit_vector", tooltip="Edit vector of the same generator."),
                    host.node_input(io.Float, "strength", default=1.0, min=-4.0, max=4.0, step=0.05,
                                    display_mode=io.NumberDisplay.slider,
                                    tooltip="0 changes nothing, 1 is the edit as optimised, -1 its opposite."),
                    io.String.Input("edited_labels", default="", tooltip="Parts the edit is about, separated by commas. "
                                                                         "Empty: those the vector names."),
                    host.node_input(io.Int, "steps", default=30, min=1, max=2000, tooltip="Optimisation steps; the paper "
                                                                                          "uses 10 to 60."),
                    host.node_input(io.Float, "learning_rate", default=0.02, min=0.0001, max=1.0, step=0.005,
                                    tooltip="Rate of Adam, in units of w."),
                    host.node_input(io.Int, "dilation", default=3, min=0, max=64,
                                    tooltip="Pixels by which the region grows before it is used."),
                    _weight("outside_weight", 15.0, "Weight of keeping the picture outside the region."),
                    _weight("inside_weight", 1.0, "Weight of the labels the vector gave, inside the region."),
                    _weight("perceptual_weight", 10.0, "Share of the perceptual distance in keeping the picture."),
                    _weight("mse_weight", 5.0, "Share of the squared difference in keeping the picture."),
                    _weight("identity_weight", 0.0, "Weight of who is shown, for faces; needs the identity input."),
                    IdentitySocket.Input("identity", optional=True, tooltip="Face recognition network, for its term.")],
            outputs=[WPlusSocket.Output("w_plus", tooltip="Codes of the edited pictures."),
                     io.Image.Output("image", tooltip="The edited pictures, 0..1."),
                     io.Image.Output("unrefined", tooltip="What the vector alone gives, 0..1."),
                     io.Mask.Output("region", tooltip="Where the edited parts are before or after, dilated; 0 or 1."),
                     io.Image.Output("curve", tooltip="The loss over the steps, as a picture.")])

    @classmethod
    def execute(cls, generator: ModelHandle, segmenter: ModelHandle, perceptual: ModelHandle, w_plus: WPlus,
                edit_vector: EditVector, strength: float, edited_labels: str, steps: int, learning_rate: float,
                dilation: int, outside_weight: float, inside_weight: float, perceptual_weight: float, mse_weight: float,
                identity_weight: float, identity: ModelHandle | None = None) -> io.NodeOutput:
        sockets.require_codes_of(w_plus, generator)
        names = split_names(edited_labels) or list(edit_vector.labels)
        if not names:
            raise InvalidInputError(f"Edit vector '{edit_vector.name}' does not say which parts it edits; name them in "
                                    f"edited_labels.")
        edited = segmenter.require_labels().indices(names)
        bare = apply_vector(w_plus, edit_vector, strength)
        network, branch = sockets.acquire_generator(generator), sockets.acquire_segmenter(segmenter)
        distance = sockets.acquire_perceptual(perceptual)
        identify = None if identity is None else sockets.acquire_identity(identity)
        settings = replace(FIXED, steps=steps, lr=learning_rate, rgb=outside_weight, perceptual=perceptual_weight,
                           mse=mse_weight, cross_entropy=inside_weight, identity=identity_weight)
        progress = host.Progress(steps)
        with host.autograd():
            start, noise = sockets.placed(w_plus, generator)
            moved = sockets.placed(bare, generator)[0]
            target, region = refinement(network, branch, start, moved, edited, dilation=dilation, noise=noise)
            loss = EditLoss(network, branch, distance, start, target, region, settings, noise=noise, identify=identify)
            edit = optimise_edit(loss, start, initial=moved - start, on_step=progress.on_step)
            codes = start + edit.delta
            with torch.no_grad():
                unrefined = network.synthesis(moved, noise=noise)[0]
                image = network.synthesis(codes, noise=noise)[0]
        return io.NodeOutput(w_plus.with_codes(codes.detach().cpu()), sockets.network_to_image(image),
                             sockets.network_to_image(unrefined), sockets.to_mask(region), _curve(edit))


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


class SaveEditState(io.ComfyNode):
    """Write where an edit stands to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierSaveEditState", display_name="Save Edit State", category=CATEGORY, is_output_node=True,
            description="Saves where an optimisation stands, so that it can go on another day. Copy the file to the input "
                        "folder to load it.",
            inputs=[EditStateSocket.Input("state", tooltip="State of Optimise Edit Vector."),
                    io.String.Input("filename_prefix", default="edit_states/edit", tooltip="File name, with folders, in "
                                    "the output folder; a number is added.")],
            outputs=[])

    @classmethod
    def execute(cls, state: EditState, filename_prefix: str) -> io.NodeOutput:
        target = host.save_target(filename_prefix, ".safetensors")
        save_state(target.path, state)
        return io.NodeOutput(ui={"files": [{"filename": target.filename, "subfolder": target.subfolder,
                                            "type": "output"}]})


class LoadEditState(io.ComfyNode):
    """Read where an edit stood."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadEditState", display_name="Load Edit State", category=CATEGORY,
            description="Loads what Save Edit State wrote, to go on with Optimise Edit Vector.",
            inputs=[io.String.Input("file", default="", tooltip="Name of the .safetensors file in the input folder; with "
                                                                "' [output]' at its end, in the output folder.")],
            outputs=[EditStateSocket.Output("state", tooltip="The state to go on from.")])

    @classmethod
    def fingerprint_inputs(cls, file: str) -> tuple[int, int]:
        path = host.input_path(file)
        status = path.stat() if path.is_file() else None
        return (0, 0) if status is None else (status.st_mtime_ns, status.st_size)

    @classmethod
    def execute(cls, file: str) -> io.NodeOutput:
        path = host.input_path(file)
        if not path.is_file():
            raise InvalidInputError(f"There is no edit state '{file}' in the input folder; copy the file there, or add "
                                    f"' [output]' to its name.")
        return io.NodeOutput(load_state(path))


NODES = [OptimiseEditVector, RefineEdit, ApplyEditVector, SweepEditVector, SaveEditState, LoadEditState]
