"""Loading networks from files."""

from __future__ import annotations

from collections.abc import Mapping

from ..pipelines.errors import AtelierError, LabelSetMismatchError
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle, load_model
from .sockets import EncoderSocket, GeneratorSocket, IdentitySocket, PerceptualSocket, SegmenterSocket

EDITGAN = ("generator", "encoder", "segmenter", "perceptual")
FAMILIES = {"generator": "stylegan2", "encoder": "encoders", "segmenter": "label_branches", "perceptual": "perceptual",
            "identity": "identity", "funit": "funit", "unit": "unit", "denoiser": "denoisers"}
ARCHITECTURES = {"generator": ("stylegan2-generator",),
                 "encoder": ("editgan-encoder", "style-encoder", "editgan-pyramid-encoder"),
                 "segmenter": ("editgan-segmenter",), "perceptual": ("stylegan2-discriminator", "lpips"),
                 "identity": ("arcface-ir-se",), "funit": ("funit",), "unit": ("unit", "unit-shared"),
                 "denoiser": ("edm-denoiser",)}


def load_role(role: str, name: str) -> ModelHandle:
    handle = load_model(host.model_path(FAMILIES[role], name), differentiable=True)
    if handle.architecture not in ARCHITECTURES[role]:
        raise AtelierError(f"'{name}' is a {handle.architecture}, but the {role} input needs a "
                           f"{' or '.join(ARCHITECTURES[role])}; choose another file.")
    return handle


def _require_pair(role: str, handle: ModelHandle, generator: ModelHandle) -> None:
    if handle.generator is not None and handle.generator != generator.fingerprint:
        raise LabelSetMismatchError(
            f"The {role} '{handle.name}' was trained with generator {handle.generator[:16]}, but '{generator.name}' is "
            f"{generator.fingerprint[:16]}; choose the {role} that goes with this generator.")


def files_input(role: str, what: str) -> io.Input:
    family = FAMILIES[role]
    return host.node_input(io.Combo, role, options=host.model_files(family),
                           tooltip=f"{what}. A .safetensors file in models/atelier/{family}.")


def all_there(names: Mapping[str, str]) -> bool | str:
    try:
        for role, name in names.items():
            host.model_path(FAMILIES[role], name)
    except AtelierError as error:
        return str(error)
    return True


class LoadEditGANModels(io.ComfyNode):
    """Generator, encoder, label branch and perceptual distance, which belong together."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadEditGANModels", display_name="Load EditGAN Models", category="Atelier/Models",
            description="Loads the networks of one EditGAN: a StyleGAN2 generator and what was trained around it. The "
                        "demo models that come with the pack draw 64x64 toy cars.",
            search_aliases=["stylegan", "gan", "editgan"],
            inputs=[files_input("generator", "StyleGAN2 generator: turns W+ codes into pictures"),
                    files_input("encoder", "Encoder: turns a picture into W+ codes of that generator"),
                    files_input("segmenter", "Label branch: predicts the part labels of the generator's pictures"),
                    files_input("perceptual", "Network whose features measure how different two pictures look")],
            outputs=[GeneratorSocket.Output("generator", tooltip="The generator, with its fingerprint."),
                     EncoderSocket.Output("encoder", tooltip="The encoder to W+."),
                     SegmenterSocket.Output("segmenter", tooltip="The label branch and its label set."),
                     PerceptualSocket.Output("perceptual", tooltip="The perceptual distance.")])

    @classmethod
    def validate_inputs(cls, generator: str, encoder: str, segmenter: str, perceptual: str) -> bool | str:
        return all_there(dict(zip(EDITGAN, (generator, encoder, segmenter, perceptual), strict=True)))

    @classmethod
    def execute(cls, generator: str, encoder: str, segmenter: str, perceptual: str) -> io.NodeOutput:
        names = dict(zip(EDITGAN, (generator, encoder, segmenter, perceptual), strict=True))
        loaded = {role: load_role(role, name) for role, name in names.items()}
        for role in ("encoder", "segmenter"):
            _require_pair(role, loaded[role], loaded["generator"])
        return io.NodeOutput(*(loaded[role] for role in EDITGAN))


class LoadIdentity(io.ComfyNode):
    """The recognition network of the identity term."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadIdentity", display_name="Load Identity Network", category="Atelier/Models",
            description="Loads a face recognition network (ArcFace IR-SE50), which tells whether two pictures show the same "
                        "person. None comes with the pack: `atelier weights list` says where it is.",
            search_aliases=["arcface", "ir_se50"],
            inputs=[files_input("identity", "Face recognition network")],
            outputs=[IdentitySocket.Output("identity", tooltip="For the identity terms and for Measure Identity.")])

    @classmethod
    def validate_inputs(cls, identity: str) -> bool | str:
        return all_there({"identity": identity})

    @classmethod
    def execute(cls, identity: str) -> io.NodeOutput:
        return io.NodeOutput(load_role("identity", identity))


NODES = [LoadEditGANModels, LoadIdentity]
