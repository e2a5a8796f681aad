"""The Langevin prior on canvases: panoramas, pictures refined and extended, sound and film."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.canvas import Known
from ..pipelines.langevin.presets import Preset
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from . import sockets
from .canvases import drawn, painted, pictures_only, report
from .extended_sound import SoundPlan
from .langevin_settings import CATEGORY
from .prior_model import PlacedRegion, PriorModel, prior_model, scaled_mask
from .sockets import DenoiserSocket, PriorSocket, RegionsSocket

LARGEST_SIDE = 65536
Source = ModelHandle | PriorModel
SEED = "Decides the noise and where the crops lie; the second canvas of a batch is drawn from the next seed, and so on."


def _inputs(*middle: io.Input) -> list[io.Input]:
    return [DenoiserSocket.Input("denoiser", tooltip="The prior: what the result should look like, crop by crop."),
            PriorSocket.Input("prior", tooltip="How the prior works, from Prior Settings."), *middle,
            host.node_input(io.Int, "seed", default=0, min=0, max=2**31 - 1, tooltip=SEED)]


class LangevinPanorama(io.ComfyNode):
    """A picture of any size from a denoiser of small crops."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLangevinPanorama", display_name="Langevin Panorama", category=CATEGORY,
            description="Draws a picture far larger than the denoiser's own: every crop of it looks like the denoiser's "
                        "pictures, without seams, and it can wrap around for 360 degrees or for tiling.",
            search_aliases=["panorama", "large image", "seamless", "360", "tiling"],
            inputs=[*_inputs(host.node_input(io.Int, "width", default=1024, min=16, max=LARGEST_SIDE, tooltip="Side in "
                                                                                                              "pixels."),
                           host.node_input(io.Int, "height", default=256, min=16, max=LARGEST_SIDE, tooltip="Side in pixels."),
                           io.Boolean.Input("wrap_x", default=False, tooltip="The left and the right edge meet."),
                           io.Boolean.Input("wrap_y", default=False, tooltip="The upper and the lower edge meet."),
                           host.node_input(io.Int, "count", default=1, min=1, max=64, tooltip="Pictures to draw.")),
                RegionsSocket.Input("regions", optional=True, tooltip="Other denoisers for parts of the picture."),
                io.Image.Input("reference", optional=True, tooltip="A picture of the panorama's size whose masked part is "
                                                                   "kept."),
                io.Mask.Input("reference_mask", optional=True, tooltip="Which part of the reference is kept, 0..1.")],
            outputs=[io.Image.Output("image", tooltip="The panoramas, 0..1."),
                     io.String.Output("report", tooltip="Sweeps, calls and diagnostics.")])

    @classmethod
    def execute(cls, denoiser: Source, prior: Preset, width: int, height: int, wrap_x: bool, wrap_y: bool, count: int,
                seed: int,
                regions: tuple[PlacedRegion, ...] = (), reference: Tensor | None = None,
                reference_mask: Tensor | None = None) -> io.NodeOutput:
        model, known = pictures_only(prior_model(denoiser)), None
        if reference is not None:
            given = sockets.image_for_features(reference)
            if tuple(given.shape[2:]) != (height, width):
                raise InvalidInputError(f"The reference has {given.shape[3]}x{given.shape[2]} pixels, the panorama {width}x"
                                        f"{height}; scale or pad it.")
            mask = torch.ones(1, height, width) if reference_mask is None else scaled_mask(reference_mask, (height, width))
            known = given[:1].clone(), mask
        found, done = painted(model, prior, torch.zeros(count, 3, height, width), wrap=(wrap_y, wrap_x), seed=seed,
                              regions=regions, known=known)
        return io.NodeOutput(sockets.network_to_image(found), report(done, model, prior))


class LangevinRefine(io.ComfyNode):
    """A picture, nudged towards what the denoiser knows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLangevinRefine", display_name="Langevin Refine", category=CATEGORY,
            description="Redraws a picture, or the masked part of it, as the denoiser would have it: from a touch-up to a new "
                        "picture, as strength says. With a mask and full strength it fills in what is missing.",
            search_aliases=["inpaint", "img2img", "denoise"],
            inputs=[*_inputs(io.Image.Input("image", tooltip="Pictures at least as large as the denoiser's crop, 0..1."),
                           host.node_input(io.Float, "strength", default=0.5, min=0.01, max=10.0, step=0.05,
                                           tooltip="First noise level in units of the data's deviation: 0.3 mends, 1 redraws, "
                                                   "10 forgets. Levels above the prior's own belong to its start, if it has "
                                                   "one; the preset 'outpaint' fills in masked parts best."),
                           io.Boolean.Input("wrap_x", default=False, tooltip="The left and the right edge meet.")),
                io.Mask.Input("mask", optional=True, tooltip="What may change, 0..1; everything without one."),
                RegionsSocket.Input("regions", optional=True, tooltip="Other denoisers for parts of the picture.")],
            outputs=[io.Image.Output("image", tooltip="The pictures, 0..1."),
                     io.String.Output("report", tooltip="Sweeps, calls and diagnostics.")])

    @classmethod
    def execute(cls, denoiser: Source, prior: Preset, image: Tensor, strength: float, wrap_x: bool, seed: int,
                mask: Tensor | None = None, regions: tuple[PlacedRegion, ...] = ()) -> io.NodeOutput:
        model, values = pictures_only(prior_model(denoiser)), sockets.image_for_features(image).clone()
        known = None if mask is None else (values, 1 - scaled_mask(mask, tuple(values.shape[2:])))
        found, done = painted(model, prior.refining(strength), values, wrap=(False, wrap_x), seed=seed, regions=regions,
                              known=known)
        return io.NodeOutput(sockets.network_to_image(found), report(done, model, prior))


class LangevinExtend(io.ComfyNode):
    """A picture that goes on beyond its edges."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        def side(name: str, default: int) -> io.Input:
            return host.node_input(io.Int, name, default=default, min=0, max=LARGEST_SIDE,
                                   tooltip=f"Pixels to add on this side ({name}).")

        return host.schema(
            node_id="AtelierLangevinExtendImage", display_name="Langevin Extend Image", category=CATEGORY,
            description="Goes on with a picture beyond its edges. The picture itself stays as it is; what is added looks as "
                        "the denoiser, best one trained on this very picture, would have it. Give it the preset 'outpaint' of "
                        "Prior Settings: the others leave a visible border.",
            search_aliases=["outpaint", "uncrop", "expand"],
            inputs=[*_inputs(io.Image.Input("image", tooltip="Pictures, 0..1."), side("left", 0), side("top", 0),
                           side("right", 256), side("bottom", 0),
                           io.Boolean.Input("wrap_x", default=False, tooltip="The new left and right edge meet.")),
                RegionsSocket.Input("regions", optional=True, tooltip="Other denoisers for parts of the whole picture.")],
            outputs=[io.Image.Output("image", tooltip="The larger pictures, 0..1."),
                     io.Mask.Output("mask", tooltip="What was added, 1 there."),
                     io.String.Output("report", tooltip="Sweeps, calls and diagnostics.")])

    @classmethod
    def execute(cls, denoiser: Source, prior: Preset, image: Tensor, left: int, top: int, right: int, bottom: int, wrap_x: bool,
                seed: int, regions: tuple[PlacedRegion, ...] = ()) -> io.NodeOutput:
        model, given = pictures_only(prior_model(denoiser)), sockets.image_for_features(image)
        padded = torch.nn.functional.pad(given, (left, right, top, bottom),
                                         mode="constant" if model.pictures.scale == 1 else "replicate")
        mask = torch.nn.functional.pad(torch.ones(1, *given.shape[2:]), (left, right, top, bottom))
        found, done = painted(model, prior, padded, wrap=(False, wrap_x), seed=seed, regions=regions, known=(padded, mask))
        added = (1 - mask).expand(len(image), -1, -1).clone()
        return io.NodeOutput(sockets.network_to_image(found), added, report(done, model, prior))


class LangevinAudio(io.ComfyNode):
    """Sound that goes on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLangevinAudio", display_name="Langevin Audio", category=CATEGORY,
            description="Goes on with a sound, before it or after it, closes it to a loop, or joins it to another one. What "
                        "was given stays as it is.",
            search_aliases=["extend audio", "loop", "outpaint"],
            inputs=[*_inputs(io.Audio.Input("audio", tooltip="A sound of any sample rate. What is new is drawn at the "
                                                             "denoiser's own rate, and in mono where the denoiser is; what was "
                                                             "given comes out sample by sample as it went in."),
                           host.node_input(io.Combo, "mode", options=["after", "before", "loop", "join"], default="after",
                                           tooltip="Where the new part lies: behind the sound, before it, between its end and "
                                                   "its beginning, or between it and the second sound."),
                           host.node_input(io.Float, "seconds", default=4.0, min=0.01, max=3600.0, step=0.1,
                                           tooltip="Length of the new part.")),
                io.Audio.Input("second", optional=True, tooltip="The sound to join to; it is brought to the sample rate and "
                                                                "the channels of the first.")],
            outputs=[io.Audio.Output("audio", tooltip="The whole sound, at the sample rate and with the channels of the sound "
                                                      "given."),
                     io.String.Output("report", tooltip="Sweeps, calls and diagnostics.")])

    @classmethod
    def execute(cls, denoiser: Source, prior: Preset, audio: dict[str, Any], mode: str, seconds: float, seed: int,
                second: dict[str, Any] | None = None) -> io.NodeOutput:
        model = prior_model(denoiser)
        if model.axes != 1:
            raise InvalidInputError(f"The denoiser '{model.name}' works along {model.axes} axes; this node needs one of sound.")
        plan = SoundPlan.of(audio, second if mode == "join" else None, mode, seconds)
        rate = model.sample_rate or plan.rate
        wave, mask = plan.at(rate, model.channels)
        if wave.shape[2] < model.crop[0]:
            raise InvalidInputError(f"The whole sound lasts {wave.shape[2] / rate:.2f} seconds; this denoiser needs at least "
                                    f"{model.crop[0] / rate:.2f}. Draw more, or give more.")
        found, done = drawn(model, prior, wave, wrap=(mode == "loop",), seed=seed, constraints=[Known(wave, mask)])
        return io.NodeOutput(plan.filled(found.clamp(-1, 1).cpu(), rate), report(done))


class LangevinVideo(io.ComfyNode):
    """A film that goes on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLangevinVideo", display_name="Langevin Video", category=CATEGORY,
            description="Goes on with a film in windows of frames, before it or after it, or closes it to a loop. The given "
                        "frames stay as they are.",
            search_aliases=["extend video", "loop"],
            inputs=_inputs(io.Image.Input("frames", tooltip="The film, one picture per frame, 0..1."),
                           host.node_input(io.Combo, "mode", options=["after", "before", "loop"], default="after",
                                           tooltip="Where the new frames lie: behind, before, or between the end and the "
                                                   "beginning."),
                           host.node_input(io.Int, "count", default=16, min=1, max=100_000, tooltip="New frames.")),
            outputs=[io.Image.Output("frames", tooltip="The whole film, 0..1."),
                     io.String.Output("report", tooltip="Sweeps, calls and diagnostics.")])

    @classmethod
    def execute(cls, denoiser: Source, prior: Preset, frames: Tensor, mode: str, count: int, seed: int) -> io.NodeOutput:
        model = prior_model(denoiser)
        if model.axes != 3:
            raise InvalidInputError(f"The denoiser '{model.name}' works along {model.axes} axes; this node needs one of films, "
                                    f"such as Texture Denoiser gives with frames above 1.")
        film = sockets.image_for_features(frames).movedim(0, 1)[None]
        pad = (0, 0, 0, 0, count, 0) if mode == "before" else (0, 0, 0, 0, 0, count)
        whole = torch.nn.functional.pad(film, pad)
        mask = torch.nn.functional.pad(torch.ones(1, *film.shape[2:]), pad)
        found, done = drawn(model, prior, whole, wrap=(mode == "loop", False, False), seed=seed,
                            constraints=[Known(whole, mask)])
        return io.NodeOutput(sockets.network_to_image(found[0].movedim(0, 1)), report(done))


NODES = [LangevinPanorama, LangevinRefine, LangevinExtend, LangevinAudio, LangevinVideo]
