"""One command from a clone to a result, with nothing but Python and the network's package index.

    python3 start.py demo [ARGS]     run workflows/edit_car.json and say where the pictures are; ARGS go to atelier run
    python3 start.py test [ARGS]     run the test suite; ARGS go to pytest
    python3 start.py --fresh ...     rebuild the environment first

The environment lies in .venv/<hash>, named by the contents of the dependency files: a changed dependency means a fresh
one. An interrupted installation never counts as finished, nor does one that was moved here from another folder.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DEPENDENCY_FILES = ("pyproject.toml", "requirements.txt")
FINISHED = "installed"
OLDEST_PYTHON = (3, 10)

TORCH = "2.13.0"
"""What the demo and the tests run on. The pack itself pins no torch: in ComfyUI it uses the host's."""

IN_PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
"""A file of tests stays in one process, and files begin in the order given. `-n 0` among the arguments undoes it."""


def environment_folder(root: Path = ROOT) -> Path:
    """The folder of the environment that the dependency files ask for."""
    digest = hashlib.sha256(f"{TORCH} {sys.version_info[:2]} {sys.platform} {platform.machine()}".encode())
    for name in DEPENDENCY_FILES:
        digest.update((root / name).read_bytes().replace(b"\r\n", b"\n"))
    return root / ".venv" / digest.hexdigest()[:16]


def python_of(folder: Path) -> Path:
    """The environment's interpreter."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def is_finished(folder: Path) -> bool:
    """Whether an installation came to its end in this very folder: an environment knows its own path."""
    marker = folder / FINISHED
    return marker.is_file() and marker.read_text(encoding="utf-8") == str(folder) and python_of(folder).exists()


def install(folder: Path) -> None:
    """Make the environment; the marker is written last."""
    if folder.exists():
        shutil.rmtree(folder)
    say(f"Making the environment {folder} (once; a few minutes).")
    venv.EnvBuilder(with_pip=True, symlinks=os.name != "nt").create(folder)
    python = str(python_of(folder))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, f"torch=={TORCH}"], cwd=ROOT, check=False).returncode:
        say(f"torch {TORCH} is not to be had for this system; taking the newest torch.")
        subprocess.run([*pip, "torch"], cwd=ROOT, check=True)
    subprocess.run([*pip, "--editable", ".[headless,test]"], cwd=ROOT, check=True)
    (folder / FINISHED).write_text(str(folder), encoding="utf-8")


def run(python: Path, module: str, *arguments: str) -> int:
    """Run a module; isolated, because a checkout on the import path would hide the host's modules behind our folders."""
    return subprocess.run([str(python), "-I", "-m", module, *arguments], cwd=ROOT, check=False).returncode


def demo(python: Path, arguments: list[str]) -> int:
    """Run the first workflow and name its pictures."""
    output = ROOT / "demo_output"
    workflow = ROOT / "workflows" / "edit_car.json"
    code = run(python, "latent_atelier.headless", "run", str(workflow), "--output", str(output), "--input",
               str(ROOT / "demo" / "images"), "--report", str(ROOT / "demo_report.json"), *arguments)
    if code == 0:
        say(f"Done. The pictures are in {output / 'edit_car'}; begin with the newest sheet_*.png.")
    return code


def find_browser() -> None:
    """Install Debian's Chromium for the tests in the page, where there is none and this user may."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if any(map(shutil.which, names)) or shutil.which("apt-get") is None or not hasattr(os, "geteuid") or os.geteuid():
        return
    say("Installing Chromium for the tests in the page.")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "chromium"]
    if subprocess.run(install, check=False, env=environment, stdout=subprocess.DEVNULL).returncode:
        subprocess.run(["apt-get", "update", "--quiet"], check=False, env=environment, stdout=subprocess.DEVNULL)
        if subprocess.run(install, check=False, env=environment, stdout=subprocess.DEVNULL).returncode:
            say("Chromium could not be installed; the tests in the page are skipped.")


def test(python: Path, arguments: list[str]) -> int:
    """Run the test suite."""
    find_browser()
    return run(python, "pytest", *IN_PARALLEL, *arguments)


def say(text: str) -> None:
    """Tell the user."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Parse, install when needed, run."""
    fresh = "--fresh" in arguments
    jobs = {"demo": demo, "test": test}
    job, *rest = [a for a in arguments if a != "--fresh"] or [""]
    if job not in jobs:
        say(__doc__ or "")
        return 2
    if sys.version_info < OLDEST_PYTHON:
        say(f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed, this is {sys.version.split()[0]}.")
        return 2
    folder = environment_folder()
    try:
        if fresh or not is_finished(folder):
            install(folder)
        return jobs[job](python_of(folder), rest)
    except subprocess.CalledProcessError as error:
        say(f"The installation stopped (exit code {error.returncode}); what is printed above says why. If it names "
            "ensurepip, install your system's python3-venv package.")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
