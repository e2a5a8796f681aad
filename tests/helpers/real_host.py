"""The real host on a free port, with the pack linked in, random models and nodes for tests of them.

Set COMFYUI_PATH to a ComfyUI checkout, and COMFYUI_PYTHON to the interpreter that runs it (default: this one).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

HELPERS, PACK = Path(__file__).parent, Path(__file__).parents[2]
UNET, VAE = "random_unet.safetensors", "random_vae.safetensors"
START_SECONDS, RUN_SECONDS = 180, 300


@dataclass
class Host:
    """A running host."""

    url: str
    folder: Path
    pid: int = 0

    def call(self, path: str, body: Any = None) -> Any:
        """GET, or POST when there is a body; HTTP errors come back as their JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read()
        return json.loads(text) if text else None

    def submit(self, prompt: dict[str, Any]) -> dict[str, Any]:
        return self.call("/prompt", {"prompt": prompt})

    def wait(self, prompt_id: str) -> dict[str, Any]:
        """The history entry of a finished prompt."""
        end = time.monotonic() + RUN_SECONDS
        while time.monotonic() < end:
            history = self.call(f"/history/{prompt_id}")
            if history.get(prompt_id, {}).get("status"):
                return history[prompt_id]
            time.sleep(0.2)
        raise TimeoutError(f"prompt {prompt_id} did not finish; log:\n{self.log()[-3000:]}")

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        answer = self.submit(prompt)
        assert answer.get("node_errors") == {}, answer
        return self.wait(answer["prompt_id"])

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def real_host(folder: Path) -> Iterator[Host]:
    """The host of COMFYUI_PATH with its files in `folder`; the test is skipped without one."""
    comfy = os.environ.get("COMFYUI_PATH")
    if not comfy:
        pytest.skip("COMFYUI_PATH names no ComfyUI checkout")
    for name in ("custom_nodes", "input", "output", "temp", "user", "models"):
        (folder / name).mkdir()
    (folder / "custom_nodes" / "latent-atelier").symlink_to(PACK, target_is_directory=True)
    interpreter = os.environ.get("COMFYUI_PYTHON", sys.executable)
    shutil.copy(HELPERS / "nodes_for_models.py", folder / "custom_nodes" / "nodes_for_models.py")
    for kind in ("diffusion_models", "vae"):
        (folder / "models" / kind).mkdir()
    subprocess.run([interpreter, HELPERS / "random_models.py", folder / "models" / "diffusion_models" / UNET,
                    folder / "models" / "vae" / VAE], cwd=comfy, check=True)
    for shipped in (PACK / "demo" / "images").iterdir():
        shutil.copy(shipped, folder / "input")
    port = free_port()
    command = [interpreter, "main.py", "--cpu", "--listen", "127.0.0.1", "--port",
               str(port), "--base-directory", str(folder), "--database-url", f"sqlite:///{folder / 'comfyui.db'}",
               "--disable-auto-launch", "--disable-api-nodes", "--preview-method", "auto", "--log-stdout"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=comfy, stdout=log, stderr=subprocess.STDOUT)
        running = Host(f"http://127.0.0.1:{port}", folder, process.pid)
        try:
            end = time.monotonic() + START_SECONDS
            while True:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(f"the host did not start:\n{running.log()[-3000:]}")
                try:
                    running.call("/system_stats")
                    break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.5)
            yield running
        finally:
            process.terminate()
            process.wait(30)
