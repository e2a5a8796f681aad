"""`atelier run`: exit codes, folders, reports, cancelling; nothing is written when the input is wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import pytest
from latent_atelier.headless import cli, doctor, run
from latent_atelier.headless.core_nodes import CORE_NODES
from latent_atelier.headless.node_types import by_id
from latent_atelier.headless.problems import InvalidWorkflowError
from latent_atelier.headless.run import RunOptions, run_file
from latent_atelier.headless.workflow import WorkflowError
from latent_atelier.pipelines.errors import InvalidInputError
from PIL import Image

SCALED = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
    "2": {
        "class_type": "ImageScale",
        "inputs": {"image": ["1", 0], "upscale_method": "area", "width": 4, "height": 4, "crop": "disabled"},
    },
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "small"}},
    "4": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
}


@pytest.fixture
def place(bench, tmp_path, monkeypatch):
    """A working directory with a picture and a workflow; the classes are the core nodes and the toys."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "input").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "input" / "a.png")
    classes = bench.classes | by_id(CORE_NODES)
    monkeypatch.setattr(run, "all_classes", lambda: classes)
    (tmp_path / "w.json").write_text(json.dumps(SCALED))
    return tmp_path


def write(place, nodes) -> None:
    prompt = {key: {"class_type": name, "inputs": inputs} for key, (name, inputs) in nodes.items()}
    (place / "w.json").write_text(json.dumps(prompt))


def test_done(place, capsys):
    assert cli.main(["run", "w.json", "--quiet", "--report", "report.json", "--set", "2.width=6"]) == 0
    (saved,) = capsys.readouterr().out.split()
    with Image.open(saved) as image:
        assert image.size == (6, 4)
        assert json.loads(image.info["prompt"])["2"]["inputs"]["width"] == 6
    assert os.listdir(place / "output") == [os.path.basename(saved)]
    report = json.loads((place / "report.json").read_text())
    assert (report["status"], report["error"], report["workflow"]) == ("done", None, "w.json")
    assert {node["id"]: node["status"] for node in report["nodes"]} == dict.fromkeys("1234", "run")
    assert all(node["seconds"] >= 0 and node["peak_memory_bytes"] > 0 for node in report["nodes"])
    assert report["peak_memory"]["bytes"] == max(node["peak_memory_bytes"] for node in report["nodes"])
    assert {node["id"]: [os.path.basename(file) for file in node["files"]] for node in report["nodes"]}["3"]
    assert report["versions"]["torch"]


def test_a_saved_picture_is_a_workflow(place, capsys):
    assert cli.main(["run", "w.json", "--quiet"]) == 0
    saved = capsys.readouterr().out.strip()
    assert cli.main(["run", saved, "--quiet", "--output", "again"]) == 0
    assert os.listdir("again")


def test_progress_is_drawn_on_standard_error(bench, place, capsys, monkeypatch):
    bench.state["on_step"] = lambda _: time.sleep(0.15)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    write(place, {"1": ("ToySteps", {"total": 3}), "2": ("ToyShow", {"value": ["1", 0]})})
    assert cli.main(["run", "w.json"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "ToySteps" in captured.err
    assert "2/3" in captured.err
    assert "s  node 1 (ToySteps)" in captured.err


def test_wrong_input_writes_nothing(place, capsys):
    before = sorted(place.rglob("*"))
    arguments = ["run", "w.json", "--report", "report.json", "--set", "2.width=-1", "--set", "9.x=1"]
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "The workflow cannot run, 2 problems:",
        "  --set names node '9'; the workflow has 1, 2, 3, 4.",
        "  node 2 (ImageScale), input width: -1 is below the smallest allowed value 0.",
    ]
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"workflow": "none.json"}, WorkflowError, "cannot be read"),
        ({"overrides": ("x",)}, WorkflowError, "ID.INPUT=VALUE"),
        ({"input": "none"}, InvalidInputError, "--input none: there is no such folder"),
        ({"models": "none"}, InvalidInputError, "--models none: there is no such folder"),
        ({"output": "w.json"}, InvalidInputError, "this is a file"),
        ({"report": "none/report.json"}, InvalidInputError, "there is no folder none"),
        ({"report": "input"}, InvalidInputError, "this is a folder"),
    ],
)
def test_wrong_options_are_one_sentence(place, options, error, word):
    paths = {key: value if key == "overrides" else Path(value) for key, value in options.items()}
    with pytest.raises(error, match=word):
        run_file(RunOptions(**{"workflow": Path("w.json")} | paths), print)


def test_wrong_command_lines():
    for arguments in ([], ["walk"], ["run"], ["run", "w.json", "--device", "tpu"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2


def test_a_failing_node(place, capsys):
    nodes = {"1": ("ToyNumber", {"value": 1}), "2": ("ToyShow", {"value": ["1", 0]})}
    write(place, nodes | {"3": ("ToyFail", {"kind": "input"}), "4": ("ToyShow", {"value": ["3", 0]})})
    assert cli.main(["run", "w.json", "--quiet", "--report", "report.json"]) == 1
    assert capsys.readouterr().err == "node 3 (ToyFail): the moon is not a picture.\n"
    report = json.loads((place / "report.json").read_text())
    assert (report["status"], report["error"]) == ("failed", "node 3 (ToyFail): the moon is not a picture.")
    assert [(node["id"], node["status"]) for node in report["nodes"]] == [("1", "run"), ("2", "run"), ("3", "failed")]


@pytest.mark.parametrize("name", ["bad.png", "bomb.png"])
def test_bad_pictures(place, capsys, name):
    (place / "input" / "bad.png").write_bytes(b"nothing")
    header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0N \0\0N \x08\x02\0\0\0"
    data = header + zlib.crc32(header[12:]).to_bytes(4, "big") + b"\0\0\0\x04IDAT"
    (place / "input" / "bomb.png").write_bytes(data)
    assert cli.main(["run", "w.json", "--quiet", "--set", f"1.image={name}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"node 1 (LoadImage): {'The picture ' if name == 'bomb.png' else ''}{name} is ")
    assert error.count("\n") == 1
    assert not (place / "output").exists()


def test_demo_pictures_are_the_last_input_folder(place, monkeypatch):
    (place / "demo").mkdir()
    Image.new("RGB", (8, 8), "blue").save(place / "demo" / "car.png")
    Image.new("RGB", (8, 8), "blue").save(place / "demo" / "a.png")
    monkeypatch.setattr(run, "DEMO_PICTURES", place / "demo")

    def colour(name, **options) -> tuple:
        lines: list[str] = []
        options = RunOptions(Path("w.json"), overrides=(f"1.image={name}",), quiet=True, **options)
        assert run_file(options, lines.append) == 0
        with Image.open(lines[0].strip()) as image:
            return image.getpixel((0, 0))

    assert colour("car.png") == (0, 0, 255)
    assert colour("a.png") == (255, 0, 0)
    (place / "other").mkdir()
    assert colour("a.png", input=Path("other")) == (0, 0, 255)
    with pytest.raises(InvalidWorkflowError):
        colour("none.png")


@pytest.fixture
def interruptible():
    """As in a shell's foreground; a process in its background is born deaf to interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_interrupt_ends_the_run_within_one_step(bench, place, capsys):
    bench.state["on_step"] = lambda step: os.kill(os.getpid(), signal.SIGINT) if step == 3 else None
    write(place, {"1": ("ToySteps", {"total": 1000}), "2": ("ToyShow", {"value": ["1", 0]})})
    assert cli.main(["run", "w.json", "--quiet", "--report", "report.json"]) == 130
    assert bench.calls[-1] == "step 3"
    assert capsys.readouterr().err == "Cancelled.\n"
    report = json.loads((place / "report.json").read_text())
    assert (report["status"], [node["status"] for node in report["nodes"]]) == ("cancelled", ["cancelled"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_node_that_raises_keyboard_interrupt(place, capsys):
    write(place, {"1": ("ToyFail", {"kind": "interrupt"}), "2": ("ToyShow", {"value": ["1", 0]})})
    assert cli.main(["run", "w.json", "--quiet"]) == 130


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_a_process_is_cancelled_by_a_signal(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from latent_atelier.headless import cli, run
            from latent_atelier.runtime.host import Progress, io

            class Slow(io.ComfyNode):
                @classmethod
                def define_schema(cls):
                    return io.Schema(node_id="Slow", is_output_node=True)

                @classmethod
                def execute(cls):
                    progress = Progress(10000)
                    for step in range(1, 10001):
                        time.sleep(0.01)
                        progress.step_to(step)
                        sys.stdout.write("step\\n")
                        sys.stdout.flush()

            run.all_classes = lambda: {"Slow": Slow}
            sys.exit(cli.main(["run", "w.json", "--quiet"]))
            """
        )
    )
    (tmp_path / "w.json").write_text('{"1": {"class_type": "Slow", "inputs": {}}}')
    process = subprocess.Popen(
        [sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"step\n"
    process.send_signal(signal.SIGINT)
    begin = time.monotonic()
    _, error = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - begin < 10
    assert error == b"Cancelled.\n"


def test_doctor_tells_what_is_missing():
    def missing() -> str:
        raise ImportError("no such thing")

    assert list(doctor.examine({"a": lambda: "fine", "b": missing})) == [(True, "a: fine"), (False, "b: no such thing")]


@pytest.mark.parametrize(("given", "spins"),
                         [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "")])
def test_threads_do_not_spin_unless_told_to(given, spins):
    kept = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "import latent_atelier.headless, os, sys; print(os.environ.get('GOMP_SPINCOUNT', ''), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], env=kept | given, capture_output=True, text=True, check=True)
    assert done.stdout == f"{spins} False\n"
