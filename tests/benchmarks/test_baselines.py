"""The baselines of the benchmarks compute what our own code computes; otherwise their times mean nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import label_branch
import pytest
import stylegan2_speed
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_every_form_of_the_synthesis_draws_the_same_picture_and_gradient() -> None:
    generator, ws = stylegan2_speed.build(quick=True)
    pictures, gradients = {}, {}
    for name, form in stylegan2_speed.forms(generator).items():
        codes = ws.clone().requires_grad_(True)
        pictures[name] = form(codes)
        (gradients[name],) = torch.autograd.grad(pictures[name].square().sum(), codes)
        pictures[name] = pictures[name].detach()
    for name in pictures:
        tolerance = 0.1 if name == stylegan2_speed.BF16 else 1e-4
        for found in (pictures, gradients):
            expected = found[stylegan2_speed.EDITGAN]
            assert float((found[name] - expected).square().mean().sqrt()) < tolerance * float(expected.std()), name


@pytest.mark.parametrize("backward", [False, True])
def test_both_forms_of_the_label_branch_agree(backward: bool) -> None:
    cases = label_branch.cases(quick=True, backward=backward)
    official, ours = cases[label_branch.OFFICIAL](), cases[label_branch.OURS]()
    assert torch.allclose(official, ours, atol=1e-4 * float(official.detach().std()))
    assert len(cases[label_branch.REGION]()) == pytest.approx(0.1 * len(official), rel=0.1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows tells no peak memory")
@pytest.mark.parametrize("script", ["stylegan2_speed.py", "label_branch.py"])
def test_the_scripts_print_their_tables(script: str) -> None:
    done = subprocess.run([sys.executable, str(BENCHMARKS / script), "--quick", "--repeats", "1"], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "forward+backward" in done.stdout
    assert "ours" in done.stdout
