"""Writes a random network of Stable Diffusion's kind and a small autoencoder of it, in the host's own interpreter.

python random_models.py DIFFUSION_MODEL.safetensors VAE.safetensors, in the folder of a ComfyUI checkout.
"""

from __future__ import annotations

import sys

sys.path.insert(0, "")
files = sys.argv[1:]
sys.argv = [sys.argv[0], "--cpu"]

import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()

import comfy.ops  # noqa: E402
import torch  # noqa: E402
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel  # noqa: E402
from comfy.taesd.taesd import TAESD  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


def randomised(module: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """Weights of the size that keeps the deviation of what goes through, biases small; norms as they are."""
    rng = torch.Generator().manual_seed(seed)
    found = {}
    for name, value in module.state_dict().items():
        if value.ndim > 1:
            found[name] = torch.randn(value.shape, generator=rng) / value[0].numel() ** 0.5
        else:
            found[name] = torch.ones(value.shape) if "norm" in name and "weight" in name else torch.zeros(value.shape)
    return found


if __name__ == "__main__":
    unet = UNetModel(image_size=32, in_channels=4, out_channels=4, model_channels=320, num_res_blocks=[1], channel_mult=[1],
                     transformer_depth=[1], transformer_depth_output=[1, 1], transformer_depth_middle=1, num_heads=8,
                     use_spatial_transformer=True, context_dim=768, legacy=False, operations=comfy.ops.disable_weight_init)
    save_file(randomised(unet, 0), files[0])
    taesd = {name: value * (1 if value.ndim > 1 else 0) for name, value in randomised(TAESD(), 1).items()}
    save_file({**taesd, "vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}, files[1])
