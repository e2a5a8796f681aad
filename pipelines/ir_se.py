"""IR-SE50: the residual network with squeeze and excitation that recognises faces (ArcFace) and that pSp, e4e and ReStyle
encode with. Modules are named as in the official files."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

UNITS = (3, 4, 14, 3)
"""Residual units per stage; the first unit of each halves the size."""
FACE, FACE_ROWS, FACE_COLUMNS = 112, (35, 223), (32, 220)
"""The recognition network's picture, and the part of an aligned face of 256x256 pixels that it is scaled from."""
ALIGNED = 256


class SqueezeExcitation(nn.Module):
    """Channels scaled by a function of their means over the picture."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.fc2(F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))).sigmoid()


class ImprovedUnit(nn.Module):
    """BN, conv, PReLU, conv, BN, squeeze and excitation, beside a shortcut that drops pixels where the width stays."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer = nn.MaxPool2d(1, stride) if channels_in == channels else nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(channels_in), nn.Conv2d(channels_in, channels, 3, 1, 1, bias=False), nn.PReLU(channels),
            nn.Conv2d(channels, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), SqueezeExcitation(channels))

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


def input_layer(in_channels: int, width: int) -> nn.Sequential:
    """The first convolution; it keeps the size."""
    return nn.Sequential(nn.Conv2d(in_channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))


def ir_se_body(width: int) -> nn.Sequential:
    """The 24 residual units; stages of width, 2 width, 4 width, 8 width channels at 1/2, 1/4, 1/8, 1/16 of the size."""
    units: list[nn.Module] = []
    before = width
    for stage, count in enumerate(UNITS):
        channels = width << stage
        units += [ImprovedUnit(before if i == 0 else channels, channels, 2 if i == 0 else 1) for i in range(count)]
        before = channels
    return nn.Sequential(*units)


class FaceIdentity(nn.Module):
    """ArcFace's IR-SE50 (Deng et al. 2019): who a face shows, as a vector.

    width: channels of the first stage, 64 in the published network. size: of its picture, in pixels, 112 in it.
    """

    def __init__(self, *, width: int = 64, embedding: int = 512, size: int = FACE) -> None:
        super().__init__()
        self.size = size
        self.input_layer = input_layer(3, width)
        self.body = ir_se_body(width)
        last = width << (len(UNITS) - 1)
        self.output_layer = nn.Sequential(nn.BatchNorm2d(last), nn.Dropout(), nn.Flatten(),
                                          nn.Linear(last * (size // 16) ** 2, embedding), nn.BatchNorm1d(embedding))

    def embed(self, faces: Tensor) -> Tensor:
        """Cropped faces float32 [B,3,size,size] in -1..1 -> vectors of length 1, [B,embedding]."""
        return F.normalize(self.output_layer(self.body(self.input_layer(faces))), dim=1)

    def forward(self, images: Tensor) -> Tensor:
        """Aligned pictures float32 [B,3,H,W] in -1..1, as FFHQ's -> vectors of length 1, [B,embedding]."""
        images = F.interpolate(images, (ALIGNED, ALIGNED), mode="area")
        face = images[:, :, FACE_ROWS[0]:FACE_ROWS[1], FACE_COLUMNS[0]:FACE_COLUMNS[1]]
        return self.embed(F.adaptive_avg_pool2d(face, self.size))
