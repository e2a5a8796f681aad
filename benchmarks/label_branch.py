"""Our label branch against concatenate-then-classify: same weights, same run, 5888 features, 20 classes, one member.

    python benchmarks/label_branch.py [--quick]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from latent_atelier.pipelines.editgan.segmentation import PixelSampler, Segmenter, pixels_of
from latent_atelier.pipelines.stylegan2.generator import block_resolutions, standard_channels
from official_forms import concatenate_then_classify
from timing import Case, interleaved, peak_of, peaks, table
from torch import Tensor

OFFICIAL, OURS, REGION = "concatenate, then classify", "ours", "ours, a tenth of the pixels"


def cases(*, quick: bool, backward: bool) -> dict[str, Case]:
    """Every way to the logits, and to their gradient in the features if asked."""
    torch.manual_seed(0)
    size, base, top = (64, 4096, 128) if quick else (256, 32768, 512)
    channels = standard_channels(size, channel_base=base, channel_max=top)
    shapes = [(channels[4], 4)] + [(channels[r], r) for r in block_resolutions(size) for _ in range(1 if r == 4 else 2)]
    features = [torch.randn(1, c, r, r) for c, r in shapes]
    segmenter = Segmenter(feature_channels=[c for c, _ in shapes], num_classes=20, members=1).eval().requires_grad_(False)
    member = segmenter.members[0]
    region = torch.zeros(1, size, size, dtype=torch.bool)
    edge = round(size * 0.1**0.5)
    region[:, size // 3:size // 3 + edge, size // 3:size // 3 + edge] = True
    sampler = PixelSampler(pixels_of(region), (size, size))

    def case(classify: object) -> Case:
        def run() -> Tensor:
            if not backward:
                with torch.no_grad():
                    return classify(features)
            leaves = [f.detach().requires_grad_(True) for f in features]
            logits = classify(leaves)
            torch.autograd.grad(logits.square().sum(), leaves)
            return logits
        return run

    return {OFFICIAL: case(lambda f: concatenate_then_classify(member, f, size)),
            OURS: case(lambda f: segmenter(f, (size, size)).permute(0, 2, 3, 1).flatten(0, 2)),
            REGION: case(lambda f: segmenter.at(f, sampler))}


def main() -> None:
    """Check that both agree, then measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 pixels, narrow: to see that it works")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory:
        mode, _, name = args.memory.partition(":")
        sys.stdout.write(f"{peak_of(cases(quick=args.quick, backward=mode != 'forward')[name])}\n")
        return
    found = cases(quick=args.quick, backward=False)
    official, ours = found[OFFICIAL](), found[OURS]()
    sys.stdout.write(f"largest difference {(official - ours).abs().max() / official.std():.1e} of the logits' deviation, "
                     f"{int((official.argmax(1) != ours.argmax(1)).sum())} of {len(ours)} labels differ\n")
    for mode in ("forward", "forward+backward"):
        measured = cases(quick=args.quick, backward=mode != "forward")
        seconds = interleaved(measured, repeats=args.repeats)
        memory = peaks(Path(__file__), [f"{mode}:{name}" for name in measured], ["--quick"] if args.quick else [])
        table(mode, seconds, {name: memory[f"{mode}:{name}"] for name in measured}, [OFFICIAL])


if __name__ == "__main__":
    main()
