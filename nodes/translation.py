"""Translation in the graph: FUNIT to a class shown by a few pictures, UNIT between two domains."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ..pipelines.errors import AtelierError, FingerprintMismatchError
from ..pipelines.frames import each_frame, fitted
from ..pipelines.funit.class_code import load_class_code, mix, save_class_code
from ..pipelines.funit.network import SMALLEST_CLASS_IMAGE, ClassCode, Translator
from ..pipelines.unit.network import TwoDomains, unit_noise
from ..pipelines.unit.shared import SharedDomains
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from . import sockets
from .models import all_there, files_input, load_role
from .sockets import ClassCodeSocket, DomainTranslatorSocket, FewShotTranslatorSocket

CATEGORY = "Atelier/Translate"
CODES = "class_codes"
SLOTS = 4
DIRECTIONS = ("a to b", "b to a")


class LoadFUNIT(io.ComfyNode):
    """A few-shot translator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadFUNIT", display_name="Load FUNIT", category="Atelier/Models",
            description="Loads a FUNIT, which draws the content of one picture in a class that a few pictures show.",
            search_aliases=["few-shot", "translation", "funit"],
            inputs=[files_input("funit", "FUNIT translator")],
            outputs=[FewShotTranslatorSocket.Output("translator", tooltip="The translator.")])

    @classmethod
    def validate_inputs(cls, funit: str) -> bool | str:
        return all_there({"funit": funit})

    @classmethod
    def execute(cls, funit: str) -> io.NodeOutput:
        return io.NodeOutput(load_role("funit", funit))


class EncodeClass(io.ComfyNode):
    """What a class looks like, from a few pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierEncodeClass", display_name="Encode Class", category=CATEGORY,
            description="Computes the class code of 1 to K pictures of a class: the mean of their codes. Once computed it "
                        "serves any number of content pictures.",
            inputs=[FewShotTranslatorSocket.Input("translator", tooltip="Translator that understands the code."),
                    io.Image.Input("image", tooltip="Pictures of the class; more give a better code."),
                    io.String.Input("name", default="class", tooltip="Name of the class.")],
            outputs=[ClassCodeSocket.Output("class_code", tooltip="The class code.")])

    @classmethod
    def execute(cls, translator: ModelHandle, image: Tensor, name: str) -> io.NodeOutput:
        network = cast(Translator, translator.acquire())
        codes: list[Tensor] = []
        for index in range(len(image)):
            host.check_cancel()
            one = sockets.image_for_features(image[index:index + 1]).to(translator.device)
            codes.append(network.class_codes(fitted(one, 1, SMALLEST_CLASS_IMAGE)).cpu())
        code = torch.stack(codes).sum(dim=0) / len(codes)
        return io.NodeOutput(ClassCode(code, len(codes), translator.fingerprint, translator.name, name))


class MixClassCodes(io.ComfyNode):
    """A class between classes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs: list[io.Input] = []
        for i in range(1, SLOTS + 1):
            inputs += [ClassCodeSocket.Input(f"class_code_{i}", optional=i > 1, tooltip=f"Class code {i}."),
                       host.node_input(io.Float, f"weight_{i}", default=1.0, min=-2.0, max=2.0, step=0.05, optional=i > 1,
                                       display_mode=io.NumberDisplay.slider, tooltip=f"Share of class code {i}.")]
        return host.schema(
            node_id="AtelierMixClassCodes", display_name="Mix Class Codes", category=CATEGORY,
            description="The weighted mean of up to four class codes: a class between classes, or beyond one of them.",
            inputs=[*inputs, io.String.Input("name", default="mix", optional=True, tooltip="Name of the mix.")],
            outputs=[ClassCodeSocket.Output("class_code", tooltip="The mixed class code.")])

    @classmethod
    def execute(cls, class_code_1: ClassCode, weight_1: float, name: str = "mix", **others: ClassCode | float) -> io.NodeOutput:
        codes, weights = [class_code_1], [weight_1]
        for i in range(2, SLOTS + 1):
            code = others.get(f"class_code_{i}")
            if isinstance(code, ClassCode):
                codes.append(code)
                weights.append(float(cast(float, others.get(f"weight_{i}", 1.0))))
        return io.NodeOutput(mix(codes, weights, name))


class SaveClassCode(io.ComfyNode):
    """A class code to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierSaveClassCode", display_name="Save Class Code", category=CATEGORY, is_output_node=True,
            description="Saves a class code in the output folder. Move it to models/atelier/class_codes to use it everywhere.",
            inputs=[ClassCodeSocket.Input("class_code", tooltip="Class code to save."),
                    io.String.Input("filename_prefix", default="class_codes/class", tooltip="File name, with folders, in the "
                                    "output folder; a number is added.")],
            outputs=[])

    @classmethod
    def execute(cls, class_code: ClassCode, filename_prefix: str) -> io.NodeOutput:
        target = host.save_target(filename_prefix, ".safetensors")
        save_class_code(target.path, class_code)
        return io.NodeOutput(ui={"files": [{"filename": target.filename, "subfolder": target.subfolder, "type": "output"}]})


class LoadClassCode(io.ComfyNode):
    """A class code from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadClassCode", display_name="Load Class Code", category=CATEGORY,
            description="Loads a class code from models/atelier/class_codes.",
            inputs=[host.node_input(io.Combo, "class_code", options=host.model_files(CODES),
                                    tooltip="A .safetensors file in models/atelier/class_codes.")],
            outputs=[ClassCodeSocket.Output("class_code", tooltip="The class code.")])

    @classmethod
    def validate_inputs(cls, class_code: str) -> bool | str:
        try:
            host.model_path(CODES, class_code)
        except AtelierError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, class_code: str) -> tuple[int, int]:
        status = host.model_path(CODES, class_code).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, class_code: str) -> io.NodeOutput:
        return io.NodeOutput(load_class_code(host.model_path(CODES, class_code)))


class TranslateToClass(io.ComfyNode):
    """Pictures in another class."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTranslateToClass", display_name="Translate to Class", category=CATEGORY,
            description="Draws what pictures show, in their pose, as members of a class. Pictures or video frames of any "
                        "size; they go through one by one, so their number costs no memory. Whole pictures only: the network "
                        "looks at all of a picture at once, so tiles would not fit together.",
            inputs=[FewShotTranslatorSocket.Input("translator", tooltip="Translator."),
                    io.Image.Input("image", tooltip="Content pictures or frames, 0..1."),
                    ClassCodeSocket.Input("class_code", tooltip="Class code of this translator.")],
            outputs=[io.Image.Output("image", tooltip="The translations, at the size of the content.")])

    @classmethod
    def execute(cls, translator: ModelHandle, image: Tensor, class_code: ClassCode) -> io.NodeOutput:
        if class_code.fingerprint != translator.fingerprint:
            raise FingerprintMismatchError(f"The class code '{class_code.name}' belongs to the translator "
                                           f"'{class_code.translator}', not to '{translator.name}'; encode the class again.")
        network = cast(Translator, translator.acquire())
        affine = class_code.code.to(translator.device)
        progress = host.Progress(len(image))
        result = each_frame(sockets.image_for_features(image), lambda _, x: network(x, affine), factor=network.factor,
                            least=2 * network.factor, device=translator.device, on_step=progress.on_step)
        return io.NodeOutput(sockets.network_to_image(result))


class LoadUNIT(io.ComfyNode):
    """A translator between two domains."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadUNIT", display_name="Load UNIT", category="Atelier/Models",
            description="Loads a UNIT, which translates between two domains of pictures in both directions.",
            search_aliases=["translation", "unit", "cyclegan"],
            inputs=[files_input("unit", "UNIT translator")],
            outputs=[DomainTranslatorSocket.Output("translator", tooltip="The translator.")])

    @classmethod
    def validate_inputs(cls, unit: str) -> bool | str:
        return all_there({"unit": unit})

    @classmethod
    def execute(cls, unit: str) -> io.NodeOutput:
        return io.NodeOutput(load_role("unit", unit))


def _through(translator: ModelHandle, images: Tensor, direction: str, latent: str, seed: int) -> Tensor:
    """images [B,3,H,W] in -1..1 in the other domain; picture i draws its noise from seed + i."""
    network = cast("TwoDomains | SharedDomains", translator.acquire())
    progress = host.Progress(len(images))

    def one(index: int, x: Tensor) -> Tensor:
        source, target = direction.split(" to ")
        latents = network.encode(x, source)
        if latent == "sampled":
            latents = latents + unit_noise(latents, torch.Generator().manual_seed((seed + index) % 2**63))
        return network.decode(latents, target)

    return each_frame(images, one, factor=network.factor, least=4 * network.factor, device=translator.device,
                      on_step=progress.on_step)


class TranslateDomain(io.ComfyNode):
    """Pictures in the other domain."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTranslateDomain", display_name="Translate Domain", category=CATEGORY,
            description="Translates pictures or video frames of any size from one domain to the other, one by one.",
            inputs=[DomainTranslatorSocket.Input("translator", tooltip="Translator."),
                    io.Image.Input("image", tooltip="Pictures of the first domain named in `direction`, 0..1."),
                    host.node_input(io.Combo, "direction", options=list(DIRECTIONS), default=DIRECTIONS[0],
                                    tooltip="From which domain to which."),
                    host.node_input(io.Combo, "latent", options=["mean", "sampled"], default="mean",
                                    tooltip="'mean' is the most likely translation, 'sampled' one of many."),
                    host.node_input(io.Int, "seed", default=0, min=0, max=2**63 - 1, control_after_generate=True,
                                    tooltip="Of sampled latents: picture i is drawn from seed + i.")],
            outputs=[io.Image.Output("image", tooltip="The translations, at the size of the pictures.")])

    @classmethod
    def execute(cls, translator: ModelHandle, image: Tensor, direction: str, latent: str, seed: int) -> io.NodeOutput:
        found = _through(translator, sockets.image_for_features(image), direction, latent, seed)
        return io.NodeOutput(sockets.network_to_image(found))


class CycleDomain(io.ComfyNode):
    """There and back again."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierCycleDomain", display_name="Check Domain Cycle", category=CATEGORY,
            description="Reconstructs pictures within their domain, and takes them to the other one and back: how much is kept "
                        "tells how far a translator can be trusted.",
            inputs=[DomainTranslatorSocket.Input("translator", tooltip="Translator."),
                    io.Image.Input("image", tooltip="Pictures of the first domain named in `direction`, 0..1."),
                    host.node_input(io.Combo, "direction", options=list(DIRECTIONS), default=DIRECTIONS[0],
                                    tooltip="From which domain to which, and back.")],
            outputs=[io.Image.Output("reconstruction", tooltip="Encoded and decoded in the same domain."),
                     io.Image.Output("translation", tooltip="In the other domain."),
                     io.Image.Output("cycle", tooltip="Back again.")])

    @classmethod
    def execute(cls, translator: ModelHandle, image: Tensor, direction: str) -> io.NodeOutput:
        images = sockets.image_for_features(image)
        source, target = direction.split(" to ")
        same, there = (_through(translator, images, way, "mean", 0) for way in (f"{source} to {source}", direction))
        back = _through(translator, there, f"{target} to {source}", "mean", 0)
        return io.NodeOutput(*(sockets.network_to_image(x) for x in (same, there, back)))


NODES = [LoadFUNIT, EncodeClass, MixClassCodes, SaveClassCode, LoadClassCode, TranslateToClass, LoadUNIT, TranslateDomain,
         CycleDomain]
