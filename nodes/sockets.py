"""Socket types, and the one place where values change between the host's form and ours, once per direction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..pipelines.editgan.editing import EditState, Embed, Encode
from ..pipelines.editgan.encoder import Encoder, as_official
from ..pipelines.editgan.latents import WPlus, require_same_generator
from ..pipelines.editgan.segmentation import Segmenter
from ..pipelines.editgan.style_encoders import PyramidEncoder, StyleEncoder, embedder
from ..pipelines.errors import InvalidInputError
from ..pipelines.ir_se import FaceIdentity
from ..pipelines.labels import LabelMap
from ..pipelines.lpips_network import LPIPS, distance_of
from ..pipelines.perceptual import PerceptualLoss
from ..pipelines.stylegan2.discriminator import Discriminator
from ..pipelines.stylegan2.generator import Generator, Noise
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle

GeneratorSocket = io.Custom("ATELIER_GENERATOR")
EncoderSocket = io.Custom("ATELIER_ENCODER")
SegmenterSocket = io.Custom("ATELIER_SEGMENTER")
PerceptualSocket = io.Custom("ATELIER_PERCEPTUAL_LOSS")
WPlusSocket = io.Custom("ATELIER_W_PLUS")
EditVectorSocket = io.Custom("ATELIER_EDIT_VECTOR")
LabelMapSocket = io.Custom("ATELIER_LABEL_MAP")
EditStateSocket = io.Custom("ATELIER_EDIT_STATE")
IdentitySocket = io.Custom("ATELIER_IDENTITY")
CropSocket = io.Custom("ATELIER_CROP")
FewShotTranslatorSocket = io.Custom("ATELIER_FEW_SHOT_TRANSLATOR")
DomainTranslatorSocket = io.Custom("ATELIER_DOMAIN_TRANSLATOR")
ClassCodeSocket = io.Custom("ATELIER_CLASS_CODE")
DenoiserSocket = io.Custom("ATELIER_DENOISER")
PriorSocket = io.Custom("ATELIER_PRIOR")
RegionsSocket = io.Custom("ATELIER_REGIONS")
CamerasSocket = io.Custom("ATELIER_CAMERAS")
FieldSocket = io.Custom("ATELIER_RADIANCE_FIELD")
ViewCameraSocket = io.Custom("LOAD3D_CAMERA")

SMALLEST_SHARE = 4
"""A picture is enlarged at most this much on its way into a network."""


def _acquire(handle: ModelHandle, kind: type[nn.Module] | tuple[type[nn.Module], ...], socket: str) -> Any:
    module = handle.acquire()
    if not isinstance(module, kind):
        raise InvalidInputError(f"The {socket} input holds '{handle.name}', which is a {handle.architecture}; connect what "
                                f"its loader gives.")
    return module


def acquire_generator(handle: ModelHandle) -> Generator:
    """The generator behind a socket, on its device."""
    return _acquire(handle, Generator, "generator")


def acquire_encoder(handle: ModelHandle, generator: Generator, *, official: bool = False) -> Encode:
    """The encoder behind a socket, on its device: images -> codes of the generator. official: as `as_official`."""
    found = embedder(_acquire(handle, (Encoder, StyleEncoder, PyramidEncoder), "encoder"), generator)
    return as_official(found) if official and isinstance(found, nn.Module) else found


def acquire_segmenter(handle: ModelHandle) -> Segmenter:
    """The label branch behind a socket, on its device."""
    return _acquire(handle, Segmenter, "segmenter")


def acquire_perceptual(handle: ModelHandle) -> PerceptualLoss:
    """The perceptual distance behind a socket, on its device."""
    return distance_of(_acquire(handle, (LPIPS, Discriminator), "perceptual"))


def acquire_identity(handle: ModelHandle) -> Embed:
    """The recognition network behind a socket, on its device: images -> unit vectors."""
    return _acquire(handle, FaceIdentity, "identity")


def state_on(state: EditState | None, generator: ModelHandle | None) -> EditState | None:
    """The state of an edit on the generator's device, or on the CPU."""
    device = torch.device("cpu") if generator is None else generator.device
    return None if state is None else state.to(device)


def require_codes_of(w_plus: WPlus, generator: ModelHandle) -> None:
    """Raise FingerprintMismatchError, with both names, unless the codes belong to the generator."""
    require_same_generator(w_plus.fingerprint, generator.fingerprint, "The W+ input", w_plus.generator, generator.name)


def placed(w_plus: WPlus, generator: ModelHandle) -> tuple[Tensor, Noise]:
    """The codes and the noise of a W+ value on the generator's device; copies, free of the host's inference mode."""
    noise = "const" if w_plus.noise is None else [level.clone().to(generator.device) for level in w_plus.noise]
    return w_plus.codes.clone().to(generator.device), noise


def image_to_network(image: Tensor, resolution: int) -> Tensor:
    """IMAGE float [B,H,W,C] 0..1 -> float32 [B,3,R,R] -1..1: alpha dropped, centre square, antialiased scaling."""
    if image.ndim != 4 or image.shape[3] not in (1, 3, 4):
        raise InvalidInputError(f"An IMAGE is [B,H,W,C] with 1, 3 or 4 channels, got {list(image.shape)}.")
    height, width = int(image.shape[1]), int(image.shape[2])
    side = min(height, width)
    if side * SMALLEST_SHARE < resolution:
        raise InvalidInputError(f"The picture has {width}x{height} pixels; this model works at {resolution}x{resolution} "
                                f"and needs at least {-(-resolution // SMALLEST_SHARE)} pixels on the shorter side.")
    top, left = (height - side) // 2, (width - side) // 2
    x = image[:, top:top + side, left:left + side, :3].permute(0, 3, 1, 2).float()
    if x.shape[1] == 1:
        x = x.expand(-1, 3, -1, -1)
    if side != resolution:
        x = F.interpolate(x, (resolution, resolution), mode="bicubic", antialias=True, align_corners=False)
    return x.clamp(0, 1) * 2 - 1


def image_for_features(image: Tensor) -> Tensor:
    """IMAGE [B,H,W,C] 0..1 -> float32 [B,3,H,W] -1..1 at its own size, for networks that take any."""
    return image[..., :3].permute(0, 3, 1, 2).float().clamp(0, 1) * 2 - 1


def labels_to_network(label_map: LabelMap, resolution: int) -> LabelMap:
    """The label map [B,H,W] as the pictures that go through `image_to_network`: centre square, nearest pixel, [B,R,R]."""
    side = min(label_map.height, label_map.width)
    top, left = (label_map.height - side) // 2, (label_map.width - side) // 2
    ids = label_map.ids[:, None, top:top + side, left:left + side].clone()
    return LabelMap(F.interpolate(ids, (resolution, resolution), mode="nearest-exact")[:, 0], label_map.labels)


def network_to_image(x: Tensor) -> Tensor:
    """float [B,3,H,W] -1..1 -> IMAGE float32 [B,H,W,3] 0..1 on the CPU."""
    return ((x.detach().float() + 1) / 2).clamp(0, 1).permute(0, 2, 3, 1).contiguous().cpu()


def to_mask(mask: Tensor) -> Tensor:
    """bool [B,H,W] -> MASK float32 0..1 on the CPU."""
    return mask.detach().float().cpu()
