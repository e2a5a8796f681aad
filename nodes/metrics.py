"""Metrics in the graph: how good a result is, as numbers and as a sentence."""

from __future__ import annotations

import torch

from ..pipelines.labels import LabelMap
from ..pipelines.metrics import identity_similarity, label_score, psnr
from ..runtime import host
from ..runtime.host import io
from ..runtime.model_cache import ModelHandle
from . import sockets
from .sockets import IdentitySocket, LabelMapSocket, PerceptualSocket

CATEGORY = "Atelier/Metrics"


def _listed(values: torch.Tensor, form: str) -> str:
    return ", ".join(form.format(float(v)) for v in values)


class MeasureLabels(io.ComfyNode):
    """mIoU of two label maps."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierMeasureLabels", display_name="Measure Labels", category=CATEGORY,
            description="Mean intersection over union of two label maps, over the parts that occur in either.",
            inputs=[LabelMapSocket.Input("found", tooltip="The label map to judge."),
                    LabelMapSocket.Input("truth", tooltip="The label map it should be.")],
            outputs=[io.Float.Output("miou", tooltip="Mean intersection over union, 0..1."),
                     io.Float.Output("accuracy", tooltip="Share of equal pixels, 0..1."),
                     io.String.Output("report", tooltip="Every part's intersection over union.")])

    @classmethod
    def execute(cls, found: LabelMap, truth: LabelMap) -> io.NodeOutput:
        score = label_score(found, truth)
        lines = [f"{name}: {'absent' if value.isnan() else f'{float(value):.3f}'}"
                 for name, value in zip(truth.labels.names, score.per_label, strict=True)]
        report = "\n".join([f"mIoU {score.mean:.3f}, pixel accuracy {score.accuracy:.3f}", *lines])
        return io.NodeOutput(score.mean, score.accuracy, report)


class MeasurePictures(io.ComfyNode):
    """PSNR and perceptual distance of two pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierMeasurePictures", display_name="Measure Pictures", category=CATEGORY,
            description="How much two pictures differ: PSNR, and LPIPS or another perceptual distance.",
            search_aliases=["psnr", "lpips"],
            inputs=[io.Image.Input("a", tooltip="First pictures."),
                    io.Image.Input("b", tooltip="Second pictures, of the same number and size."),
                    io.Mask.Input("mask", optional=True, tooltip="PSNR is measured where this is above 0.5."),
                    PerceptualSocket.Input("perceptual", optional=True, tooltip="Network for the perceptual distance.")],
            outputs=[io.Float.Output("psnr", tooltip="Mean over the pictures, in dB; equal pictures have 100."),
                     io.Float.Output("distance", tooltip="Mean perceptual distance; 0 without a network."),
                     io.String.Output("report", tooltip="The figures of every picture.")])

    @classmethod
    def execute(cls, a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor | None = None,
                perceptual: ModelHandle | None = None) -> io.NodeOutput:
        ratio = psnr(a[..., :3], b[..., :3], mask)
        apart, text = torch.zeros(1), f"PSNR {_listed(ratio, '{:.2f}')} dB"
        if perceptual is not None:
            network = sockets.acquire_perceptual(perceptual)
            first, second = (sockets.image_for_features(x).to(perceptual.device) for x in (a, b))
            apart = network(first, second).cpu()
            text += f"; perceptual distance {_listed(apart, '{:.4f}')}"
        return io.NodeOutput(float(ratio.mean()), float(apart.mean()), text)


class MeasureIdentity(io.ComfyNode):
    """Whether two pictures show the same person."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierMeasureIdentity", display_name="Measure Identity", category=CATEGORY,
            description="Cosine similarity of face embeddings: 1 is the same person, about 0 a stranger.",
            search_aliases=["arcface"],
            inputs=[io.Image.Input("a", tooltip="First faces, aligned."), io.Image.Input("b", tooltip="Second faces, aligned."),
                    IdentitySocket.Input("identity", tooltip="Face recognition network.")],
            outputs=[io.Float.Output("similarity", tooltip="Mean cosine, -1..1."),
                     io.String.Output("report", tooltip="The cosine of every pair.")])

    @classmethod
    def execute(cls, a: torch.Tensor, b: torch.Tensor, identity: ModelHandle) -> io.NodeOutput:
        identify = sockets.acquire_identity(identity)
        first, second = (identify(sockets.image_for_features(x).to(identity.device)) for x in (a, b))
        cosine = identity_similarity(first, second).cpu()
        return io.NodeOutput(float(cosine.mean()), f"identity {_listed(cosine, '{:.3f}')}")


NODES = [MeasureLabels, MeasurePictures, MeasureIdentity]
