"""The mapping network z, c -> w, and truncation in W+."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import InvalidInputError
from .ops import Linear, normalize_second_moment

MAPPING_LR_MULTIPLIER = 0.01


class MappingNetwork(nn.Module):
    """MLP of `num_layers` activated linear layers over the normalised latent and the embedded condition.

    z float32 [B,z_dim] (ignored when z_dim is 0), c float32 [B,c_dim] (ignored when c_dim is 0) -> w [B,w_dim].
    Conditional networks append the embedded, normalised c after the normalised z.
    """

    w_avg: Tensor

    def __init__(self, *, z_dim: int, c_dim: int, w_dim: int, num_layers: int = 8, embed_dim: int | None = None,
                 hidden_dim: int | None = None, lr_multiplier: float = MAPPING_LR_MULTIPLIER,
                 track_average: bool = True) -> None:
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_layers = z_dim, c_dim, w_dim, num_layers
        embed_dim = (embed_dim or w_dim) if c_dim else 0
        widths = [z_dim + embed_dim, *[hidden_dim or w_dim] * (num_layers - 1), w_dim]
        if c_dim:
            self.embed = Linear(c_dim, embed_dim)
        for i in range(num_layers):
            layer = Linear(widths[i], widths[i + 1], lr_multiplier=lr_multiplier, activation=True)
            self.add_module(f"fc{i}", layer)
        if track_average:
            self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        parts: list[Tensor] = []
        if self.z_dim:
            if z is None or z.ndim != 2 or z.shape[1] != self.z_dim:
                found = "nothing" if z is None else f"{list(z.shape)}"
                raise InvalidInputError(f"The mapping network expects latents z of shape [B,{self.z_dim}], got {found}.")
            parts.append(normalize_second_moment(z.float()))
        if self.c_dim:
            if c is None or c.ndim != 2 or c.shape[1] != self.c_dim:
                found = "nothing" if c is None else f"{list(c.shape)}"
                raise InvalidInputError(
                    f"This network is conditional and expects class labels c of shape [B,{self.c_dim}], got {found}.")
            parts.append(normalize_second_moment(self.embed(c.float())))
        x = torch.cat(parts, dim=1)
        for i in range(self.num_layers):
            x = self.get_submodule(f"fc{i}")(x)
        return x


def truncate(ws: Tensor, w_avg: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """Move W+ codes [B,num_ws,w_dim] towards the average: w_avg + psi (w - w_avg), in the first `cutoff` rows.

    psi 1 changes nothing, 0 gives the average; cutoff None means every row.
    """
    if psi == 1.0:
        return ws
    rows = ws.shape[1] if cutoff is None else cutoff
    return torch.cat([w_avg.lerp(ws[:, :rows], psi), ws[:, rows:]], dim=1)
