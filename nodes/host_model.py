"""The host's own models as denoisers, and the prior as one of the host's samplers."""

from __future__ import annotations

from typing import Any

from ..pipelines.errors import InvalidInputError
from ..pipelines.langevin.presets import Preset
from ..runtime import host
from ..runtime.comfy_denoiser import Conditioning, HostPrior, as_sampler, levels_of, require_host, require_plain
from ..runtime.comfy_digest import digest
from ..runtime.comfy_sampler import SMALLEST, LangevinLoop
from ..runtime.comfy_vae import LatentCodec
from ..runtime.host import io
from .langevin_settings import CATEGORY
from .prior_model import PriorModel
from .sockets import DenoiserSocket, PriorSocket

LARGEST_CROP = 8192


def _crop_inputs() -> list[io.Input]:
    return [host.node_input(io.Int, "crop", default=512, min=64, max=LARGEST_CROP, step=64,
                            tooltip="Side of what the model sees at once, in pixels: the size of the pictures it was trained "
                                    "on. Less where the picture is smaller.")]


def _batch_input() -> io.Input:
    return host.node_input(io.Int, "batch", default=4, min=1, max=64, advanced=True,
                           tooltip="Crops that go through the model at once, 1 to 64: what bounds its memory.")


class DenoiserFromModel(io.ComfyNode):
    """The host's MODEL as a prior."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierDenoiserFromModel", display_name="Denoiser from Model", category=CATEGORY,
            description="Makes a denoiser of a diffusion model that ComfyUI has loaded, with its prompts: for Langevin "
                        "Panorama, Refine, Extend Image and Region Prompt. Takes eps, v, EDM and flow models of pictures, "
                        "their LoRAs, ControlNets and hooks; areas and masks of the prompts lie on the whole picture. Needs "
                        "ComfyUI.",
            search_aliases=["stable diffusion", "sdxl", "flux", "checkpoint", "score"],
            inputs=[io.Model.Input("model", tooltip="A diffusion model of pictures, from the host's loaders."),
                    io.Conditioning.Input("positive", tooltip="What to draw. Areas and masks lie on the whole picture."),
                    io.Conditioning.Input("negative", tooltip="What to keep away from."),
                    io.Vae.Input("vae", tooltip="The autoencoder of the model's latents."),
                    host.node_input(io.Float, "cfg", default=7.0, min=0.0, max=100.0, step=0.1, round=0.01,
                                    tooltip="Classifier-free guidance, 0 to 100: 1 follows the prompt alone, at half "
                                            "the cost."),
                    *_crop_inputs(), _batch_input()],
            outputs=[DenoiserSocket.Output("denoiser", tooltip="The denoiser with its prompts.")])

    @classmethod
    def execute(cls, model: Any, positive: Conditioning, negative: Conditioning, vae: Any, cfg: float, crop: int,
                batch: int) -> io.NodeOutput:
        require_host("Denoiser from Model")
        require_plain(model.model)
        levels_of(model.get_model_object("model_sampling"))
        codec = LatentCodec(vae, model)
        side = crop // codec.scale // SMALLEST * SMALLEST
        if not side:
            raise InvalidInputError(f"A crop of {crop} pixels is {crop // codec.scale} latent pixels for this VAE; give at "
                                    f"least {SMALLEST * codec.scale}.")
        prior = HostPrior(model, positive, negative, cfg, (side, side), batch)
        channels = model.model.latent_format.latent_channels
        return io.NodeOutput(PriorModel(type(model.model).__name__, channels, (side, side), SMALLEST, model.load_device,
                                        lambda body: prior.run(lambda denoisers: body(denoisers[0])), model,
                                        codec=codec, host=prior, condition=digest(model, positive, negative, cfg)))


class LangevinSampler(io.ComfyNode):
    """The prior for the host's own sampling."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLangevinSampler", display_name="Langevin Sampler", category=CATEGORY,
            description="The Langevin prior as a SAMPLER for SamplerCustomAdvanced and SamplerCustom, with any guider: the "
                        "latent image may be far larger than what the model was trained on. With a preset that has a start, "
                        "shifted tiles go down the sigmas and the prior goes over the result; without one, its sweeps are made "
                        "at the sigmas. The result is always free of noise. Needs ComfyUI.",
            search_aliases=["panorama", "multidiffusion", "tiled", "sampler"],
            inputs=[PriorSocket.Input("prior", tooltip="How the prior works, from Prior Settings; of the inversions those that "
                                                       "need no gradients."),
                    *_crop_inputs(),
                    io.Boolean.Input("wrap_x", default=False, tooltip="The left and the right edge of the latent meet. VAE "
                                                                      "Decode knows nothing of that and leaves a seam; "
                                                                      "Langevin Panorama does not."),
                    io.Boolean.Input("wrap_y", default=False, tooltip="The upper and the lower edge of the latent meet."),
                    _batch_input()],
            outputs=[io.Sampler.Output("sampler", tooltip="The sampler.")])

    @classmethod
    def execute(cls, prior: Preset, crop: int, wrap_x: bool, wrap_y: bool, batch: int) -> io.NodeOutput:
        require_host("Langevin Sampler")
        return io.NodeOutput(as_sampler(LangevinLoop(prior, crop, (wrap_y, wrap_x), batch).sample))


NODES = [DenoiserFromModel, LangevinSampler]
