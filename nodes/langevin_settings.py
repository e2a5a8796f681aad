"""Denoisers with conditions, and how the Langevin prior uses them."""

from __future__ import annotations

import torch
from torch import Tensor

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.gaussian import texture_denoiser
from ..pipelines.langevin.inversion import STEPS, Inversion, Kind
from ..pipelines.langevin.presets import DEFAULT, PRESETS, Preset
from ..pipelines.langevin.prior import Churn, PriorSettings, Schedule
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from ..runtime.precision import PRECISIONS
from .prior_model import PlacedRegion, PriorModel, prior_model
from .sockets import DenoiserSocket, PriorSocket, RegionsSocket

CATEGORY = "Atelier/Langevin"
CUSTOM = "custom"


class ConditionDenoiser(io.ComfyNode):
    """A denoiser that is told what to draw."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierConditionDenoiser", display_name="Condition Denoiser", category=CATEGORY,
            description="Tells a denoiser which of its classes to draw, and how insistently. Its help page and its loader say "
                        "which classes it knows; the landscapes that come with the pack know day, dusk, night and snow.",
            inputs=[DenoiserSocket.Input("denoiser", tooltip="A denoiser from Load Denoiser."),
                    io.String.Input("class_name", default="", tooltip="One of its classes; empty for any."),
                    host.node_input(io.Float, "guidance", default=1.0, min=0.0, max=20.0, step=0.1,
                                    tooltip="Classifier-free guidance: 1 follows the class, more exaggerates it at twice the "
                                            "cost."),
                    host.node_input(io.Combo, "precision", options=list(PRECISIONS), default="auto", advanced=True,
                                    tooltip="Number type of the network's convolutions. 'auto' is bfloat16 on a CPU that has "
                                            "it natively, which is faster there and off by less than a hundredth of the data's "
                                            "deviation, and float32 elsewhere."),
                    host.node_input(io.Int, "batch", default=32, min=1, max=512, advanced=True,
                                    tooltip="Crops that go through the network at once: what bounds its memory.")],
            outputs=[DenoiserSocket.Output("denoiser", tooltip="The denoiser with this condition.")])

    @classmethod
    def execute(cls, denoiser: ModelHandle | PriorModel, class_name: str, guidance: float, precision: str,
                batch: int) -> io.NodeOutput:
        if isinstance(denoiser, PriorModel):
            raise InvalidInputError(f"The denoiser '{denoiser.name}' has its condition already; connect what Load Denoiser "
                                    f"gives.")
        return io.NodeOutput(prior_model(denoiser, class_name=class_name.strip(), guidance=guidance, precision=precision,
                                         batch=batch))


class TextureDenoiser(io.ComfyNode):
    """A prior of textures from one picture or film, without training."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierTextureDenoiser", display_name="Texture Denoiser", category=CATEGORY,
            description="Makes a denoiser from one picture, or from a film of a moving texture, without any training: the "
                        "exact one of the Gaussian field with its colours and its waves. It knows sand, clouds, water and "
                        "noise, but no things.",
            inputs=[io.Image.Input("image", tooltip="A picture of a texture, 0..1; of several, a film when frames is above 1."),
                    host.node_input(io.Int, "crop", default=24, min=4, max=64,
                                    tooltip="Side of what it sees at once, in pixels; structure larger than that is lost."),
                    host.node_input(io.Int, "frames", default=1, min=1, max=64,
                                    tooltip="Frames it sees at once: 1 makes a denoiser of pictures, more one of films. At "
                                            "most 4096 pixels in all.")],
            outputs=[DenoiserSocket.Output("denoiser", tooltip="The denoiser.")])

    @classmethod
    def execute(cls, image: Tensor, crop: int, frames: int) -> io.NodeOutput:
        film = image[..., :3].permute(3, 0, 1, 2).float() * 2 - 1
        with torch.inference_mode(False):
            found = (texture_denoiser(film.clone(), (frames, crop, crop)) if frames > 1 else
                     texture_denoiser(film[:, 0].clone(), (crop, crop)))
        return io.NodeOutput(PriorModel("texture", 3, found.shape, 1, torch.device("cpu"), lambda body: body(found)))


class PriorSettingsNode(io.ComfyNode):
    """How hard the prior works."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierPriorSettings", display_name="Prior Settings", category=CATEGORY,
            description="How the Langevin prior draws. A preset decides everything; 'custom' takes the values below it.",
            inputs=[host.node_input(io.Combo, "preset", options=[*PRESETS, CUSTOM], default=DEFAULT,
                                    tooltip="'quick', 'balanced' and 'fine' begin with shifted tiles, which the prior then "
                                            "mends; 'patent' inverts by the ODE, as printed; 'extend' is for sound and "
                                            "film that go on from what is given, 'outpaint' for pictures that do."),
                    host.node_input(io.Int, "sweeps", default=64, min=1, max=10_000,
                                    tooltip="Times that the prior passes over the canvas. Custom."),
                    host.node_input(io.Float, "sigma_max", default=1.0, min=0.01, max=100.0, step=0.05,
                                    tooltip="First noise level, in units of the data's deviation: 10 draws from nothing, 0.5 "
                                            "to 1 refines. Custom."),
                    host.node_input(io.Float, "sigma_min", default=0.05, min=0.001, max=10.0, step=0.01,
                                    tooltip="Last noise level, in the same units; above 0.1 the result is soft. Custom."),
                    host.node_input(io.Float, "tau", default=1.0, min=0.01, max=4.0, step=0.05,
                                    tooltip="Step of the Langevin equation: 1 mends most in a sweep, 0.3 keeps things what "
                                            "they are. Custom."),
                    host.node_input(io.Combo, "inversion", options=list(STEPS), default="naive",
                                    tooltip="From a clean crop to a noisy one. 'backprop' needs gradients of the network and "
                                            "three times its memory. Custom."),
                    host.node_input(io.Int, "inversion_steps", default=0, min=0, max=1000, advanced=True,
                                    tooltip="Steps of the inversion; 0 for its own number. Custom."),
                    host.node_input(io.Int, "start", default=32, min=0, max=1000,
                                    tooltip="Steps of shifted tiles before the prior; 0 for none. Custom."),
                    host.node_input(io.Combo, "schedule", options=["geometric", "edm", "random", "constant"],
                                    default="geometric", advanced=True, tooltip="How the noise level falls. Custom."),
                    host.node_input(io.Combo, "churn", options=["euler", "exact"], default="euler", advanced=True,
                                    tooltip="'euler' as the patent prints it; 'exact' keeps the noise level to all orders. "
                                            "Custom."),
                    host.node_input(io.Float, "margin", default=0.0625, min=0.0, max=0.45, step=0.0125, advanced=True,
                                    tooltip="Share of a crop on each side that is read and not written. Custom."),
                    host.node_input(io.Float, "naive_below", default=0.2, min=0.0, max=100.0, step=0.05, advanced=True,
                                    tooltip="Noise level, in units of the data's deviation, from which on plain noise inverts. "
                                            "Custom."),
                    host.node_input(io.Int, "rounds", default=1, min=1, max=100, optional=True, advanced=True,
                                    tooltip="Times that each step of the start is made, with fresh noise in between: 1 for a "
                                            "canvas of one's own, 4 where a part of it is given, which the rest then meets "
                                            "without a seam. Custom.")],
            outputs=[PriorSocket.Output("prior", tooltip="The settings.")])

    @classmethod
    def execute(cls, preset: str, sweeps: int, sigma_max: float, sigma_min: float, tau: float, inversion: Kind,
                inversion_steps: int, start: int, schedule: Schedule, churn: Churn, margin: float,
                naive_below: float, rounds: int = 1) -> io.NodeOutput:
        if preset != CUSTOM:
            return io.NodeOutput(PRESETS[preset])
        prior = PriorSettings(sweeps=sweeps, sigma_max=sigma_max, sigma_min=sigma_min, schedule=schedule, tau=tau, churn=churn,
                              inversion=Inversion(inversion, inversion_steps), naive_below=naive_below)
        return io.NodeOutput(Preset(prior, start=start, margin=margin, rounds=rounds))


class RegionPrompt(io.ComfyNode):
    """Another denoiser for a part of the canvas."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierRegionPrompt", display_name="Region Prompt", category=CATEGORY,
            description="Gives a part of the canvas to another denoiser, or to the same one with another condition. Where "
                        "regions overlap their denoisers are mixed pixel by pixel; a soft mask makes a soft transition.",
            inputs=[DenoiserSocket.Input("denoiser", tooltip="Denoiser of the region."),
                    io.Mask.Input("mask", tooltip="Where it decides, 0..1; scaled to the canvas."),
                    host.node_input(io.Float, "strength", default=1.0, min=0.0, max=1.0, step=0.05,
                                    display_mode=io.NumberDisplay.slider, tooltip="Share of the decision inside the mask."),
                    RegionsSocket.Input("regions", optional=True, tooltip="Regions so far.")],
            outputs=[RegionsSocket.Output("regions", tooltip="The regions with this one.")])

    @classmethod
    def execute(cls, denoiser: ModelHandle | PriorModel, mask: Tensor, strength: float,
                regions: tuple[PlacedRegion, ...] = ()) -> io.NodeOutput:
        return io.NodeOutput((*regions, PlacedRegion(prior_model(denoiser), mask.float().clone() * strength)))


NODES = [ConditionDenoiser, TextureDenoiser, PriorSettingsNode, RegionPrompt]
