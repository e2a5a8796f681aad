"""EditGAN in the graph: sample, encode, generate, tune."""

from __future__ import annotations

from typing import cast

import torch

from ..checkpoints.registry import save_checkpoint
from ..pipelines.editgan.inversion import InversionSettings, refine_codes
from ..pipelines.editgan.latents import WPlus
from ..pipelines.editgan.pivotal import TuningSettings, tune_generator
from ..pipelines.labels import LabelMap
from ..pipelines.metrics import identity_similarity
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle, load_model
from . import sockets
from .sockets import (
    EncoderSocket,
    GeneratorSocket,
    IdentitySocket,
    LabelMapSocket,
    PerceptualSocket,
    SegmenterSocket,
    WPlusSocket,
)

CATEGORY = "Atelier/EditGAN"


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
        return io.NodeOutput(WPlus(codes.float().cpu().contiguous(), generator.fingerprint,
                                   tuned_from=generator.generator or "", generator=generator.name))


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
                                            "well, less reproduces the picture more exactly."),
                    host.node_input(io.Float, "encoder_weight", default=0.0, min=0.0, max=100.0, step=0.1, optional=True,
                                    advanced=True, tooltip="Pull towards the encoder's codes of the current picture, as in "
                                                           "the official tool, which uses 1."),
                    host.node_input(io.Float, "noise_weight", default=0.0, min=0.0, max=1e6, step=100.0, optional=True,
                                    advanced=True, tooltip="Above 0 the noise maps are optimised too, and this keeps them "
                                                           "noise: 1000 holds them close, 100 lets them carry detail."),
                    IdentitySocket.Input("identity", optional=True, tooltip="Face recognition network: the report then says "
                                                                            "how much the reconstruction is the same person.")],
            outputs=[WPlusSocket.Output("w_plus", tooltip="W+ codes of the pictures."),
                     io.Image.Output("reconstruction", tooltip="What the generator draws from the codes, 0..1."),
                     io.String.Output("report", tooltip="Of every reconstruction: PSNR in dB, perceptual distance and, with "
                                                        "an identity network, how alike the faces are.")])

    @classmethod
    def execute(cls, image: torch.Tensor, generator: ModelHandle, encoder: ModelHandle, perceptual: ModelHandle,
                steps: int, learning_rate: float, anchor: float, encoder_weight: float = 0.0,
                noise_weight: float = 0.0, identity: ModelHandle | None = None) -> io.NodeOutput:
        network, distance = sockets.acquire_generator(generator), sockets.acquire_perceptual(perceptual)
        encode = sockets.acquire_encoder(encoder, network)
        identify = None if identity is None else sockets.acquire_identity(identity)
        progress = host.Progress(max(steps, 1))
        with host.autograd():
            images = sockets.image_to_network(image.clone(), network.resolution).to(generator.device)
            with torch.no_grad():
                start = encode(images)
            settings = InversionSettings(steps=steps, lr=learning_rate, anchor=anchor, encoder=encoder_weight,
                                         noise=noise_weight)
            found = refine_codes(network, distance, images, start, settings, encode=encode, on_step=progress.on_step)
            with torch.no_grad():
                drawn = network.synthesis(found.codes, noise=found.noise or "const")[0]
                apart = cast(list[float], distance(drawn, images).tolist())
                error = ((drawn.clamp(-1, 1) - images) / 2).square().mean(dim=(1, 2, 3)).clamp(min=1e-10)
                ratio = cast(list[float], (-10 * error.log10()).tolist())
                lines = [f"picture {i + 1}: PSNR {r:.1f} dB, perceptual distance {d:.4f}"
                         for i, (r, d) in enumerate(zip(ratio, apart, strict=True))]
                if identify is not None:
                    same = cast(list[float], identity_similarity(identify(drawn.clamp(-1, 1)), identify(images)).tolist())
                    lines = [f"{line}, identity {value:.3f}" for line, value in zip(lines, same, strict=True)]
        noise = None if found.noise is None else tuple(level.detach().cpu() for level in found.noise)
        w_plus = WPlus(found.codes.detach().cpu(), generator.fingerprint, noise, generator.generator or "", generator.name)
        return io.NodeOutput(w_plus, sockets.network_to_image(drawn), "\n".join(lines))


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
        sockets.require_codes_of(w_plus, generator)
        network, branch = sockets.acquire_generator(generator), sockets.acquire_segmenter(segmenter)
        images: list[torch.Tensor] = []
        maps: list[torch.Tensor] = []
        for index in range(len(w_plus.codes)):
            host.check_cancel()
            codes, noise = sockets.placed(w_plus.picture(index), generator)
            image, features = network.synthesis(codes, noise=noise)
            images.append(sockets.network_to_image(image))
            maps.append(branch.label_ids(features).cpu())
        return io.NodeOutput(torch.cat(images), LabelMap(torch.cat(maps), segmenter.require_labels()))


class TuneGenerator(io.ComfyNode):
    """Pivotal tuning: the generator is adjusted until it draws the photograph from its codes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTuneGenerator", display_name="Tune Generator", category=CATEGORY,
            description="Adjusts a copy of the generator until it draws these pictures from their codes (pivotal tuning). "
                        "The tuned generator is a new one, with its own fingerprint, saved in the output folder; edit "
                        "vectors of the original still fit the codes that come out here.",
            search_aliases=["pti", "pivotal tuning"],
            inputs=[GeneratorSocket.Input("generator", tooltip="Generator to start from; it stays as it is."),
                    PerceptualSocket.Input("perceptual", tooltip="Distance that the tuning lowers."),
                    WPlusSocket.Input("w_plus", tooltip="Codes of the pictures, the pivots."),
                    io.Image.Input("image", tooltip="The pictures the codes were found for, in the same order."),
                    host.node_input(io.Int, "steps", default=200, min=1, max=5000, tooltip="Updates of the weights."),
                    host.node_input(io.Float, "learning_rate", default=0.0003, min=0.00001, max=0.1, step=0.0001,
                                    tooltip="Rate of Adam."),
                    host.node_input(io.Float, "locality", default=0.1, min=0.0, max=100.0, step=0.1, advanced=True,
                                    tooltip="Weight of keeping the pictures of neighbouring codes as they were."),
                    host.node_input(io.Int, "seed", default=0, min=0, max=2**63 - 1, tooltip="Draws those neighbours."),
                    io.String.Input("filename_prefix", default="atelier/tuned", tooltip="File name, with folders, in the "
                                    "output folder; a number is added.")],
            outputs=[GeneratorSocket.Output("generator", tooltip="The tuned generator."),
                     WPlusSocket.Output("w_plus", tooltip="The same codes, now of the tuned generator."),
                     io.Image.Output("image", tooltip="What it draws from them, 0..1.")])

    @classmethod
    def execute(cls, generator: ModelHandle, perceptual: ModelHandle, w_plus: WPlus, image: torch.Tensor, steps: int,
                learning_rate: float, locality: float, seed: int, filename_prefix: str) -> io.NodeOutput:
        sockets.require_codes_of(w_plus, generator)
        network, distance = sockets.acquire_generator(generator), sockets.acquire_perceptual(perceptual)
        target = host.save_target(filename_prefix, ".safetensors")
        progress = host.Progress(steps)
        with host.autograd():
            images = sockets.image_to_network(image.clone(), network.resolution).to(generator.device)
            codes, noise = sockets.placed(w_plus, generator)
            tuned = tune_generator(network, distance, images, codes,
                                   TuningSettings(steps=steps, lr=learning_rate, locality=locality), noise=noise,
                                   rng=torch.Generator().manual_seed(seed), on_step=progress.on_step)
            with torch.no_grad():
                drawn = tuned.synthesis(codes, noise=noise)[0]
        origin = generator.generator or generator.fingerprint
        save_checkpoint(target.path, tuned.cpu(), architecture=generator.architecture, config=generator.config,
                        license=generator.license, generator=origin)
        handle = load_model(target.path)
        moved = WPlus(w_plus.codes, handle.fingerprint, w_plus.noise, origin, handle.name)
        return io.NodeOutput(handle, moved, sockets.network_to_image(drawn))


NODES = [SampleLatents, EncodeToWPlus, Generate, TuneGenerator]
