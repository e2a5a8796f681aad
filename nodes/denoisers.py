"""Loading the denoisers that the Langevin prior works with."""

from __future__ import annotations

from ..runtime import host
from ..runtime.host import io
from .models import all_there, files_input, load_role
from .sockets import DenoiserSocket


class LoadDenoiser(io.ComfyNode):
    """A denoising network from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="AtelierLoadDenoiser", display_name="Load Denoiser", category="Atelier/Models",
            description="Loads a denoiser, which is the prior of the Langevin nodes: of landscapes, the one that "
                        "comes with the pack; EDM's own, after Import Checkpoint; or one that Train Denoiser made.",
            search_aliases=["edm", "diffusion", "prior", "score"],
            inputs=[files_input("denoiser", "Denoiser of pictures or of sound")],
            outputs=[DenoiserSocket.Output("denoiser", tooltip="The denoiser."),
                     io.String.Output("about", tooltip="Its crops, its classes, and for sound its sample rate.")])

    @classmethod
    def validate_inputs(cls, denoiser: str) -> bool | str:
        return all_there({"denoiser": denoiser})

    @classmethod
    def execute(cls, denoiser: str) -> io.NodeOutput:
        handle = load_role("denoiser", denoiser)
        config = handle.config
        side, rate = config["resolution"], config["sample_rate"]
        size = f"{side}x{side} pixels" if config["dims"] == 2 else f"{side} samples" + (f" at {rate} Hz" if rate else "")
        named = config["classes"] or (["0", "...", str(config["labels"] - 1)] if config["labels"] else [])
        lines = [f"crops of {size}, {config['channels']} channels"]
        if named and not ((config["position_features"] or config["poses"]) and not config["classes"]):
            lines.append(f"classes: {', '.join(named)}")
        if config["position_features"]:
            lines.append("told where along the first axis a crop lies")
        if config["poses"]:
            lines.append("told from where an object is seen: azimuth and elevation")
        return io.NodeOutput(handle, "\n".join(lines))


NODES = [LoadDenoiser]
