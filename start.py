"""One command from a clone to a result, with nothing but Python and the network's package index.

    python3 start.py demo            run workflows/edit_car.json and say where the pictures are
    python3 start.py test [ARGS]     run the test suite; ARGS go to pytest
    python3 start.py --fresh ...     rebuild the environment first

The environment lies in .venv/<hash>, named by the contents of the dependency files: a changed dependency means a fresh
one, and an interrupted installation never counts as finished.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
DEPENDENCY_FILES = ("pyproject.toml", "requirements.txt", "start.py")
FINISHED = "installed"
OLDEST_PYTHON = (3, 10)

TORCH = "torch==2.13.0"
"""What the demo and the tests run on. The pack itself pins no torch: in ComfyUI it uses the host's."""


def environment_folder(root: Path = ROOT) -> Path:
    """The folder of the environment that the dependency files ask for."""
    digest = hashlib.sha256(f"{sys.version_info[:2]}".encode())
    for name in DEPENDENCY_FILES:
        digest.update((root / name).read_bytes().replace(b"\r\n", b"\n"))
    return root / ".venv" / digest.hexdigest()[:16]


def python_of(folder: Path) -> Path:
    """The environment's interpreter."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def is_finished(folder: Path) -> bool:
    """Whether an installation came to its end there."""
    return (folder / FINISHED).is_file() and python_of(folder).exists()


def install(folder: Path) -> None:
    """Make the environment; the marker is written last."""
    if folder.exists():
        shutil.rmtree(folder)
    say(f"Making the environment {folder.relative_to(ROOT)} (once; a few minutes).")
    venv.EnvBuilder(with_pip=True).create(folder)
    python = str(python_of(folder))
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, TORCH], cwd=ROOT, check=False).returncode:
        say(f"{TORCH} is not to be had for this system; taking the newest torch.")
        subprocess.run([*pip, "torch"], cwd=ROOT, check=True)
    subprocess.run([*pip, "--editable", ".[headless,test]"], cwd=ROOT, check=True)
    (folder / FINISHED).write_text("ok\n")


def demo(python: Path) -> int:
    """Run the first workflow and name its pictures."""
    output = ROOT / "demo_output"
    workflow = ROOT / "workflows" / "edit_car.json"
    command = [str(python), "-m", "latent_atelier.headless", "run", str(workflow), "--output", str(output), "--input",
               str(ROOT / "demo" / "images"), "--report", str(ROOT / "demo_report.json")]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        say(f"Done. The pictures are in {output / 'edit_car'}; begin with the newest sheet_*.png.")
    return code


def test(python: Path, arguments: list[str]) -> int:
    """Run the test suite."""
    return subprocess.run([str(python), "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode


def say(text: str) -> None:
    """Tell the user."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Parse, install when needed, run."""
    fresh = "--fresh" in arguments
    arguments = [a for a in arguments if a != "--fresh"]
    if not arguments or arguments[0] not in ("demo", "test"):
        say(__doc__ or "")
        return 2
    if sys.version_info < OLDEST_PYTHON:
        say(f"Python {'.'.join(map(str, OLDEST_PYTHON))} or newer is needed, this is {sys.version.split()[0]}.")
        return 2
    folder = environment_folder()
    if fresh or not is_finished(folder):
        try:
            install(folder)
        except subprocess.CalledProcessError as error:
            say(f"The installation stopped (exit code {error.returncode}); what pip printed above says why.")
            return 1
    return demo(python_of(folder)) if arguments[0] == "demo" else test(python_of(folder), arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
