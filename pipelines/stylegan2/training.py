"""Adversarial training of a StyleGAN2: non-saturating logistic loss, lazy R1, EMA of the generator.

(Goodfellow et al. 2014; Mescheder et al. 2018; Karras et al. 2020, appendix B.)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .discriminator import Discriminator
from .generator import Generator

AverageGradients = Callable[[Iterable[nn.Parameter]], None]
"""Averages the gradients over the processes that train together; nothing to do when there is one."""


@dataclass(frozen=True)
class GanSettings:
    """lr: Adam's rate before lazy-regularisation correction; r1_gamma: weight of ||grad D||^2 / 2; r1_interval: steps
    between R1 evaluations; ema_images: half-life of the average generator in images, limited to ema_rampup times the
    images seen; style_mixing: share of samples that change w at a random layer; dtype: of the convolutions."""

    lr: float = 0.002
    r1_gamma: float = 0.1
    r1_interval: int = 16
    ema_images: float = 10_000
    ema_rampup: float = 0.05
    style_mixing: float = 0.5
    w_avg_beta: float = 0.995
    dtype: torch.dtype = torch.bfloat16


class GanTrainer:
    """Generator, discriminator, averaged generator and their optimisers; `step` consumes one batch of real images.

    Every process of a joint training holds one trainer with equal weights and its own `rng`.
    """

    def __init__(self, generator: Generator, discriminator: Discriminator, settings: GanSettings, *,
                 rng: torch.Generator, average_gradients: AverageGradients | None = None) -> None:
        self.generator, self.discriminator, self.settings, self.rng = generator, discriminator, settings, rng
        self.average_gradients = average_gradients
        self.ema = copy.deepcopy(generator).eval().requires_grad_(False)
        lazy = settings.r1_interval / (settings.r1_interval + 1)
        self.optimizer_g = torch.optim.Adam(generator.parameters(), lr=settings.lr, betas=(0.0, 0.99), eps=1e-8)
        self.optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=settings.lr * lazy, betas=(0.0, 0.99**lazy),
                                            eps=1e-8)
        self.base_rates = [group["lr"] for o in (self.optimizer_g, self.optimizer_d) for group in o.param_groups]
        self.steps, self.images = 0, 0

    def sample_codes(self, batch: int) -> Tensor:
        """W+ codes [batch,num_ws,w_dim] of fresh latents, some mixed from two; keeps track of the average w."""
        device = self.generator.mapping.w_avg.device
        z = torch.randn(2, batch, self.generator.z_dim, generator=self.rng).to(device)
        w = self.generator.mapping(z.flatten(0, 1)).unflatten(0, (2, batch))
        with torch.no_grad():
            self.generator.mapping.w_avg.lerp_(w[0].mean(dim=0), 1 - self.settings.w_avg_beta)
        num_ws = self.generator.num_ws
        cutoff = torch.randint(1, num_ws, (batch, 1), generator=self.rng)
        mixed = torch.rand(batch, 1, generator=self.rng) < self.settings.style_mixing
        second = (mixed & (torch.arange(num_ws)[None] >= cutoff)).to(device)
        return torch.where(second[:, :, None], w[1][:, None], w[0][:, None])

    def step(self, real: Tensor, *, rate: float = 1.0, joint_batch: int | None = None) -> dict[str, float]:
        """One update of both networks. real float32 [B,3,R,R] in -1..1; rate scales the learning rates; joint_batch
        counts the images of all processes. Returns the losses of this step."""
        dtype, batch = self.settings.dtype, real.shape[0]
        groups = [group for o in (self.optimizer_g, self.optimizer_d) for group in o.param_groups]
        for group, base in zip(groups, self.base_rates, strict=True):
            group["lr"] = base * rate

        self.discriminator.requires_grad_(False)
        fake = self.generator.synthesis(self.sample_codes(batch), noise="none", dtype=dtype)[0]
        loss_g = F.softplus(-self.discriminator(fake, dtype=dtype)).mean()
        self._update(self.optimizer_g, self.generator, loss_g)

        self.discriminator.requires_grad_(True)
        loss_fake = F.softplus(self.discriminator(fake.detach(), dtype=dtype)).mean()
        loss_real = F.softplus(-self.discriminator(real, dtype=dtype)).mean()
        losses = {"generator": loss_g.item(), "fake": loss_fake.item(), "real": loss_real.item()}
        self._update(self.optimizer_d, self.discriminator, loss_fake + loss_real)
        if self.steps % self.settings.r1_interval == 0:
            penalty = self._r1(real[: max(batch // 2, 1)])
            losses["r1"] = penalty.item()
            self._update(self.optimizer_d, self.discriminator,
                         penalty * (self.settings.r1_gamma / 2 * self.settings.r1_interval))

        self.steps += 1
        self.images += joint_batch or batch
        self._update_ema(joint_batch or batch)
        return losses

    def _r1(self, real: Tensor) -> Tensor:
        real = real.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.discriminator(real).sum(), real, create_graph=True)
        return gradient.square().sum(dim=(1, 2, 3)).mean()

    def _update(self, optimizer: torch.optim.Optimizer, module: nn.Module, loss: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        parameters = [p for p in module.parameters() if p.grad is not None]
        for parameter in parameters:
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0.0, posinf=1e5, neginf=-1e5, out=parameter.grad)
        if self.average_gradients is not None:
            self.average_gradients(parameters)
        optimizer.step()

    @torch.no_grad()
    def _update_ema(self, batch: int) -> None:
        half_life = min(self.settings.ema_images, self.images * self.settings.ema_rampup)
        weight = 1 - 0.5 ** (batch / max(half_life, 1e-8))
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            list(self.ema.parameters()), list(self.generator.parameters()), weight)
        self.ema.mapping.w_avg.copy_(self.generator.mapping.w_avg)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, of tensors and plain values only."""
        return {"generator": self.generator.state_dict(), "discriminator": self.discriminator.state_dict(),
                "ema": self.ema.state_dict(), "optimizer_g": self.optimizer_g.state_dict(),
                "optimizer_d": self.optimizer_d.state_dict(), "rng": self.rng.get_state(), "steps": self.steps,
                "images": self.images}

    def load_state_dict(self, state: dict[str, Any], *, restore_rng: bool = True) -> None:
        """The inverse of `state_dict`; restore_rng False keeps this process's own random stream."""
        for name in ("generator", "discriminator", "ema", "optimizer_g", "optimizer_d"):
            getattr(self, name).load_state_dict(state[name])
        if restore_rng:
            self.rng.set_state(state["rng"])
        self.steps, self.images = state["steps"], state["images"]
