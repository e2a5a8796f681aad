"""What is installed, what is required, what is said, and the two commands of the README."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
spec = importlib.util.spec_from_file_location("atelier_start", ROOT / "start.py")
start = importlib.util.module_from_spec(spec)
spec.loader.exec_module(start)


def test_packages_are_those_of_the_tree() -> None:
    layers = ["checkpoints", "demo", "headless", "nodes", "pipelines", "runtime"]
    found = {".".join(("latent_atelier", *path.parent.relative_to(ROOT).parts)) for layer in layers
             for path in (ROOT / layer).rglob("__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found | {"latent_atelier"}


def test_requirements_leave_the_hosts_torch_alone() -> None:
    required = [re.split(r"[<>=!~\[ ]", line)[0] for line in (ROOT / "requirements.txt").read_text().split("\n") if line]
    assert not {"torch", "torchvision", "torchaudio"} & set(required)
    assert "numpy" not in [line for line in (ROOT / "requirements.txt").read_text().split() if re.search("[<>=]", line)]
    assert any(line.startswith("torch") for line in PROJECT["project"]["optional-dependencies"]["headless"])


def test_text_speaks_of_the_project_alone() -> None:
    forbidden = re.compile("/wo" + "rk/|/ro" + "ot/|/tm" + r"p/\w", re.IGNORECASE)
    for name in TRACKED:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".txt", ".json", ".js", ""} and path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not forbidden.search(text), name


def test_ruff_is_clean() -> None:
    result = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=ROOT, capture_output=True,
                            text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_types_are_clean() -> None:
    result = subprocess.run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable], cwd=ROOT,
                            capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-4000:]


def test_pack_loads_under_a_name_made_of_its_path(tmp_path: Path) -> None:
    """As the host loads it: by file, from a folder whose name is no identifier, beside the pip-installed one."""
    folder = tmp_path / "latent-atelier"
    folder.symlink_to(ROOT, target_is_directory=True)
    name = str(folder).replace(".", "_x_")
    found = importlib.util.spec_from_file_location(name, folder / "__init__.py",
                                                   submodule_search_locations=[str(folder)])
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
        extension = asyncio.run(module.comfy_entrypoint())
        nodes = asyncio.run(extension.get_node_list())
        twin = sys.modules[f"{name}.runtime.model_cache"]
        from latent_atelier.runtime import model_cache
        assert twin is not model_cache
        assert twin._state() is model_cache._state()
        assert {cls.GET_SCHEMA().node_id for cls in nodes} >= {"AtelierOptimiseEditVector"}
    finally:
        for key in [key for key in sys.modules if key.startswith(name)]:
            del sys.modules[key]


def test_every_node_has_a_help_page() -> None:
    from latent_atelier.nodes.catalogue import NODES
    for cls in NODES:
        page = ROOT / "web" / "docs" / f"{cls.GET_SCHEMA().node_id}.md"
        assert page.is_file(), page.name
        assert len(page.read_text()) > 200


def test_environment_is_named_by_the_dependencies(tmp_path: Path) -> None:
    for name in start.DEPENDENCY_FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    first = start.environment_folder(tmp_path)
    assert first == start.environment_folder(tmp_path)
    (tmp_path / "requirements.txt").write_text("numpy\n")
    assert start.environment_folder(tmp_path) != first


def test_interrupted_installation_does_not_count(tmp_path: Path) -> None:
    python = start.python_of(tmp_path)
    python.parent.mkdir(parents=True)
    python.write_text("")
    assert not start.is_finished(tmp_path)
    (tmp_path / start.FINISHED).write_text("ok")
    assert start.is_finished(tmp_path)
