"""start.py: one environment per state of the dependency files, and no half one ever counts. Nothing is installed here."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """start.py as it stands in a checkout of its own, with environments that are empty files."""
    for name in ("start.py", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    spec = importlib.util.spec_from_file_location("atelier_start", tmp_path / "start.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def create(_: object, folder: Path) -> None:
        python = module.python_of(folder)
        python.parent.mkdir(parents=True)
        python.touch()

    monkeypatch.setattr(module.venv.EnvBuilder, "create", create)
    return module


@pytest.fixture
def commands(start: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that start.py runs, each of which succeeds unless its text contains FAIL."""
    ran: list[list[str]] = []

    def run(command: list[str], *, cwd: Path, check: bool) -> SimpleNamespace:
        ran.append(command[1:])
        code = int(os.environ.get("FAIL", "never") in " ".join(command))
        if code and check:
            raise subprocess.CalledProcessError(code, command)
        return SimpleNamespace(returncode=code)

    monkeypatch.setattr(start.subprocess, "run", run)
    return ran


def installations(commands: list[list[str]]) -> list[str]:
    return [command[-1] for command in commands if "pip" in command]


def test_only_the_standard_library_is_used() -> None:
    tree = ast.parse((ROOT / "start.py").read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names <= set(sys.stdlib_module_names)


def test_environment_is_named_by_the_dependencies(start: ModuleType) -> None:
    first = start.environment_folder()
    assert first == start.environment_folder()
    assert first.parent == start.ROOT / ".venv"
    for name in start.DEPENDENCY_FILES:
        path = start.ROOT / name
        kept = path.read_bytes()
        path.write_bytes(kept.replace(b"\n", b"\r\n"))
        assert start.environment_folder() == first, "line ends do not matter"
        path.write_bytes(kept + b"# changed\n")
        assert start.environment_folder() != first
        path.write_bytes(kept)
    start.TORCH = "0.0"
    assert start.environment_folder() != first


def test_second_call_reuses_the_environment(start: ModuleType, commands: list[list[str]]) -> None:
    assert start.main(["test"]) == 0
    assert installations(commands) == [f"torch=={start.TORCH}", ".[headless,test]"]
    commands.clear()
    assert start.main(["test", "-k", "house"]) == 0
    assert commands == [["-I", "-m", "pytest", *start.IN_PARALLEL, "-k", "house"]]


def test_fresh_and_changed_dependencies_install_again(start: ModuleType, commands: list[list[str]]) -> None:
    start.main(["test"])
    commands.clear()
    assert start.main(["test", "--fresh", "-x"]) == 0
    assert len(installations(commands)) == 2
    assert commands[-1] == ["-I", "-m", "pytest", *start.IN_PARALLEL, "-x"]
    (start.ROOT / "requirements.txt").write_text("numpy\n")
    commands.clear()
    start.main(["test"])
    assert len(installations(commands)) == 2


def test_newest_torch_is_taken_when_the_wanted_one_is_not_to_be_had(
    start: ModuleType, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "torch==")
    assert start.main(["test"]) == 0
    assert installations(commands) == [f"torch=={start.TORCH}", "torch", ".[headless,test]"]


def test_failed_installation_does_not_count(
    start: ModuleType, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "--editable")
    assert start.main(["test"]) == 1
    assert not start.is_finished(start.environment_folder())
    assert not any("pytest" in command for command in commands)
    monkeypatch.delenv("FAIL")
    assert start.main(["test"]) == 0
    assert start.is_finished(start.environment_folder())


def test_moved_environment_does_not_count(start: ModuleType, commands: list[list[str]], tmp_path: Path) -> None:
    """Its scripts and its link to the checkout would point to the old place."""
    start.main(["test"])
    shutil.copytree(start.environment_folder(), tmp_path / "moved")
    assert start.is_finished(start.environment_folder())
    assert not start.is_finished(tmp_path / "moved")


def test_demo_runs_the_first_workflow(
    start: ModuleType, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert start.main(["demo", "--quiet"]) == 0
    assert commands[-1][:4] == ["-I", "-m", "latent_atelier.headless", "run"]
    assert commands[-1][-1] == "--quiet"
    assert "demo_output" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["--fresh"], ["install"]])
def test_other_jobs_are_explained(start: ModuleType, commands: list[list[str]], arguments: list[str]) -> None:
    assert start.main(arguments) == 2
    assert commands == []
