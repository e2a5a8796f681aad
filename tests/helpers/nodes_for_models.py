"""Nodes that tests of the host's models use; copied into the host's custom_nodes.

The network of `AtelierTestExact` is the exact one of white Gaussian latents whose mean its prompt says, so that everything that
is drawn with it is known.
"""

from __future__ import annotations

import torch

SCALE = 0.18215
STEP = 10.0


class Prompt:
    """CONDITIONING whose every number is `mean`."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CONDITIONING",), "make", "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"mean": ("FLOAT", {"default": 0.0, "min": -10.0, "max": 10.0}), "noise": ("INT", {"default": 0})}}

    def make(self, mean, noise):
        like = torch.zeros(1, 77, 768) + mean
        if noise:
            like = torch.randn(like.shape, generator=torch.Generator().manual_seed(noise))
        return ([[like, {"pooled_output": None}]],)


class Exact:
    """MODEL with the exact network of N(mean of the prompt, variance), in the form of its model_sampling."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "make", "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "form": (["eps", "v", "flow"],), "variance": ("FLOAT", {"default": 1.0})}}

    def make(self, model, form, variance):
        def forward(x, timesteps, context=None, control=None, transformer_options=None, **kwargs):
            level = float(transformer_options["sigmas"][0])
            sigma = level / (1 - level) if form == "flow" else level
            clean = x / (1 - level) if form == "flow" else x * (level**2 + 1) ** 0.5
            mean = context.mean(dim=(1, 2)).reshape(-1, 1, 1, 1)
            denoised = mean + variance / (variance + sigma**2) * (clean - mean)
            if form == "flow":
                return (x - denoised) / level
            if form == "eps":
                return (clean - denoised) / level
            return (clean / (level**2 + 1) - denoised) * (level**2 + 1) ** 0.5 / level

        found = model.clone()
        found.add_object_patch("diffusion_model.forward", forward)
        return (found,)


class Window:
    """What a VAE is to the pack: shows the first three scaled latent channels, `STEP` for the whole range of a picture."""

    latent_channels, latent_dim, upscale_ratio = 4, 2, 8

    def decode(self, latent):
        shown = (latent[:, :3] * SCALE / STEP + 0.5).repeat_interleave(8, 2).repeat_interleave(8, 3)
        return shown.movedim(1, -1)

    def encode(self, pixels):
        found = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), 8)
        return (torch.cat([found, found[:, :1]], dim=1) - 0.5) * STEP / SCALE


class WindowVAE:
    """A `Window`."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("VAE",), "make", "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def make(self):
        return (Window(),)


class Decode:
    """LATENT -> IMAGE by a VAE of any kind."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "make", "test"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"vae": ("VAE",), "latent": ("LATENT",)}}

    def make(self, vae, latent):
        return (vae.decode(latent["samples"]),)


NODE_CLASS_MAPPINGS = {"AtelierTestPrompt": Prompt, "AtelierTestExact": Exact, "AtelierTestWindow": WindowVAE,
                       "AtelierTestDecode": Decode}
