"""What is installed, what is required, what is said, and how the host loads it."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import re
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
LAYERS = ["checkpoints", "demo", "headless", "nodes", "pipelines", "runtime"]
IMPORTED_AS = {"pillow": "PIL", "comfy-cli": "comfy_cli", "scikit-image": "skimage"}
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".js", ".yml", ""}


def tracked() -> list[Path]:
    """The repository's text files."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    if not listed:
        pytest.skip("this is no git checkout")
    return [path for name in listed.split("\0") if (path := ROOT / name).is_file() and path.suffix in TEXT]


def bare(requirement: str) -> str:
    """'comfy-cli>=1.23' -> 'comfy-cli'."""
    return re.split(r"[<>=!~\[; ]", requirement)[0]


def required() -> list[str]:
    return (ROOT / "requirements.txt").read_text(encoding="utf-8").split()


def test_packages_are_those_of_the_tree() -> None:
    found = {".".join(("latent_atelier", *path.parent.relative_to(ROOT).parts)) for layer in LAYERS
             for path in (ROOT / layer).rglob("__init__.py")}
    assert set(PROJECT["tool"]["setuptools"]["packages"]) == found | {"latent_atelier"}


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_requirements_leave_the_hosts_torch_alone() -> None:
    """What the host's manager installs is what pip installs: never torch, and numpy at any version."""
    dependencies = PROJECT["project"]["dependencies"]
    assert {bare(line) for line in required()} == {bare(line) for line in dependencies}
    assert not {"torch", "torchvision", "torchaudio"} & {bare(line) for line in dependencies}
    assert "numpy" in required()
    assert "numpy" in dependencies
    optional = PROJECT["project"]["optional-dependencies"]
    bounded = [line for line in (*required(), *dependencies, *optional["headless"]) if re.search("<|==|~=|!=", line)]
    assert bounded == [], "lower bounds only"
    assert any(line.startswith("torch") for line in optional["headless"])


def test_requirements_are_what_the_code_imports() -> None:
    declared = {bare(line) for line in (*required(), *PROJECT["project"]["optional-dependencies"]["headless"])}
    modules = {IMPORTED_AS.get(name, name) for name in declared}
    imported = set[str]()
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    imported.add(str(node.module).split(".")[0])
    assert modules <= imported, "required and never imported"
    hosts = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server"}
    assert imported - set(sys.stdlib_module_names) - hosts <= modules, "imported and not required"


def test_text_speaks_of_the_project_alone() -> None:
    """No paths of somebody's machine, and no package index: where packages come from is the user's affair."""
    forbidden = re.compile("/wo" + r"rk/|/ro" + r"ot/|/ho" + r"me/\w|[a-z]:\\\\users|/tm" + r"p/\w|py" + "pi.org|pythonho"
                           + "sted|download.pyt" + "orch", re.IGNORECASE)
    found = {path.relative_to(ROOT).as_posix(): hit[0] for path in tracked()
             if (hit := forbidden.search(path.read_text(encoding="utf-8", errors="ignore")))}
    assert found == {}


def test_modules_stay_short() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
               for path in tracked() if path.suffix == ".py"}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}


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
    """A page that names every input and output, and no page without a node."""
    from latent_atelier.nodes.catalogue import NODES
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "web" / "docs").glob("*.md")}
    assert set(pages) == {cls.GET_SCHEMA().node_id for cls in NODES}
    for cls in NODES:
        schema = cls.GET_SCHEMA()
        page = pages[schema.node_id]
        assert page.startswith(f"# {schema.display_name}\n")
        assert [slot.id for slot in (*schema.inputs, *schema.outputs) if f"- **{slot.id}**" not in page] == []
