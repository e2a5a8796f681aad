"""Pickles are read as data: everything that torch and NVIDIA write comes back, and nothing that runs is run."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import pickletools
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latent_atelier.checkpoints.errors import CheckpointError, ForbiddenPickleError, UnreadableFileError
from latent_atelier.checkpoints.pickle_reader import Record, read_pickle

CANARY = "atelier_canary"


class Runs:
    """A pickle that would leave a file behind."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def state() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0)
    return collections.OrderedDict(
        a=torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), half=torch.ones(2, dtype=torch.float16),
        brain=torch.ones(3, dtype=torch.bfloat16), n=torch.tensor(7), flags=torch.tensor([True, False]),
        view=base.view(4, 6)[1:3, ::2], turned=base.view(4, 6).t(), empty=torch.zeros(0, 5),
        parameter=torch.nn.Parameter(torch.ones(2, 2)))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_torch_saves_comes_back(tmp_path: Path, zipped: bool, protocol: int) -> None:
    whole = {"g_ema": state(), "args": argparse.Namespace(size=256), "list": [1, 2.5, None, "x", (True, b"y")],
             "latent_avg": torch.ones(4), "scalar": np.float32(2.5), "array": np.arange(6, dtype=">i4").reshape(2, 3)}
    torch.save(whole, tmp_path / "f.pt", _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    found = read_pickle(tmp_path / "f.pt")
    for name, value in whole["g_ema"].items():
        assert found["g_ema"][name].dtype == value.dtype
        assert torch.equal(found["g_ema"][name], value), name
    assert found["list"] == whole["list"]
    assert found["scalar"] == 2.5
    assert found["array"].tolist() == whole["array"].tolist()
    assert isinstance(found["args"], Record)
    assert found["args"].state == {"size": 256}


def persistent_class() -> type:
    """As stylegan2-ada's persistence writes its networks: a call of one function with the source and the state."""

    class Network:
        def __init__(self, meta: dict) -> None:
            self.meta = meta

        def __reduce__(self):
            return _reconstruct_persistent_obj, (self.meta,)

    return Network


def _reconstruct_persistent_obj(meta: dict) -> None:
    raise AssertionError("the reader called a function of the file")


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


def test_network_pickles_are_read_and_their_source_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj
    package = types.ModuleType("torch_utils")
    package.persistence = module
    monkeypatch.setitem(sys.modules, "torch_utils", package)
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)
    source = f"import pathlib; pathlib.Path({str(tmp_path / CANARY)!r}).touch()"
    weights = {"weight": torch.nn.Parameter(torch.randn(3, 3)), "w_avg": torch.ones(4)}
    network = persistent_class()({"type": "class", "version": 6, "module_src": source, "class_name": "Generator",
                                  "state": {"_parameters": collections.OrderedDict(weights), "gain": np.float64(0.5)}})
    data = pickle.dumps({"G_ema": network, "training_set_kwargs": None}, protocol=4)
    found = read_pickle(write(tmp_path / "network.pkl", data))["G_ema"]
    assert str(found.cls) == "torch_utils.persistence._reconstruct_persistent_obj"
    meta = found.arguments[0]
    assert meta["module_src"] == source
    assert torch.equal(meta["state"]["_parameters"]["weight"], weights["weight"])
    assert meta["state"]["gain"] == 0.5
    assert not (tmp_path / CANARY).exists()


def hostile(folder: Path) -> dict[str, bytes]:
    touch = f"touch {folder / CANARY}"
    code = f"open({str(folder / CANARY)!r}, 'w').close()"
    stack_global = b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(touch)]) + touch.encode() + b"\x85R."
    deep = pickle.dumps(1)[:-1].replace(b"K\x01", b"")
    files = {
        "reduce": pickle.dumps(Runs(os.system, touch)),
        "eval": pickle.dumps(Runs(eval, code)),
        "exec": pickle.dumps(Runs(exec, code)),
        "getattr": pickle.dumps(Runs(getattr, "x", "upper")),
        "nested": pickle.dumps(Runs(pickle.loads, pickle.dumps(Runs(os.system, touch)))),
        "torch_load": pickle.dumps(Runs(torch.load, "x")),
        "stack_global": stack_global,
        "protocol_0": pickle.dumps(Runs(os.system, touch), protocol=0),
        "inst": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "object": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "extension": b"\x80\x02\x82\x01.",
        "in_a_list": pickle.dumps([{"weights": [1, 2, Runs(os.system, touch)]}]),
        "build": b"\x80\x02}X\x01\x00\x00\x00aK\x01s(K\x01K\x02lb.",
        "call_of_a_value": b"\x80\x04K\x01K\x02\x85R.",
        "persistent": b"\x80\x02K\x01Q.",
        "dotted": b"\x80\x04\x8c\x0bcollections\x8c\x1fOrderedDict.__init__.__globals__\x93.",
        "deep": b"\x80\x04" + deep + b"(" * 5000 + b"l" * 5000 + b".",
        "nested_tuples": b"\x80\x04)" + b"\x85" * 100_000 + b".",
        "memo_bomb_keys": b"\x80\x04}" + b")" + b"".join(b"\x94h" + bytes([i]) + b"\x86" for i in range(60)) + b"K\x01s.",
        "itself": b"\x80\x04]\x94h\x00a.",
        "missing_memo": b"\x80\x04h\x63.",
        "no_end": b"\x80\x04K\x01",
        "empty": b"",
        "text": b"hello, this is no pickle",
        "huge_string": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
        "huge_long": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1) + b"\x01.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**60) + b"K\x01.",
        "marks": b"(" * 100_000 + b".",
        "mark_as_value": b"(\x85.",
        "set_of_tuples": b"\x80\x04\x8f(K\x01\x85\x90.",
        "storage_without_file": b"\x80\x04\x8c\x05torch\x8c\x0cFloatStorage\x93.",
    }
    numpy_type = b"cnumpy\ndtype\n(S'O'\nK\x00K\x01tR"
    files["objects_in_arrays"] = b"\x80\x02" + numpy_type + b"."
    array = pickle.dumps(np.zeros(4, np.float32), protocol=2)
    files["array_too_long"] = array.replace(b"K\x04\x85", b"K\x63\x85")
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    encoded = b"\x80\x02c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\x00\x00\x00latin1q\x02"
    files["the_same_bytes_again"] = encoded + b"(" + b"h\x00h\x01h\x02\x86R" * 300 + b"t."
    return files


HARMLESS = {"frame", "storage_without_file"}
"""Odd, but there is nothing wrong with what they describe."""


@pytest.mark.parametrize("name", hostile(Path("/nowhere")))
def test_hostile_pickles_run_nothing(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "evil.pt", hostile(tmp_path)[name])
    started = time.monotonic()
    if name in HARMLESS:
        read_pickle(path)
    else:
        with pytest.raises(CheckpointError, match=r"evil\.pt"):
            read_pickle(path)
    assert time.monotonic() - started < 5
    assert not (tmp_path / CANARY).exists()


def test_forbidden_names_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "evil.pt", hostile(tmp_path)["reduce"])
    with pytest.raises(ForbiddenPickleError, match=r"evil.pt names '(posix|nt|os).system'.*nothing of it was run"):
        read_pickle(path)


def archive(path: Path, description: bytes, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("f/data.pkl", description)
        for name, data in entries.items():
            file.writestr(f"f/data/{name}", data)
    return path


def description(tensor: torch.Tensor) -> tuple[bytes, bytes]:
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    with zipfile.ZipFile(buffer) as file:
        names = {name.split("/", 1)[1]: name for name in file.namelist()}
        return file.read(names["data.pkl"]), file.read(names["data/0"])


def test_archives_that_lie_are_refused(tmp_path: Path) -> None:
    text, data = description(torch.arange(6.0))
    assert read_pickle(archive(tmp_path / "good.pt", text, {"0": data})).tolist() == [0, 1, 2, 3, 4, 5]
    lies = {"short": (text, {"0": data[:-4]}), "missing": (text, {}), "no description": (b"", {"0": data}),
            "outside": (text.replace(b"K\x06\x85", b"K\x07\x85"), {"0": data}),
            "runs": (pickle.dumps(Runs(os.system, f"touch {tmp_path / CANARY}")), {})}
    for name, (lie, entries) in lies.items():
        with pytest.raises(CheckpointError, match=r"bad\.pt"):
            read_pickle(archive(tmp_path / "bad.pt", lie, entries))
        assert not (tmp_path / CANARY).exists(), name
    with pytest.raises(UnreadableFileError, match="packed"):
        read_pickle(archive(tmp_path / "bomb.pt", text, {"0": data}, zipfile.ZIP_DEFLATED))


def test_many_views_of_few_numbers_are_refused(tmp_path: Path) -> None:
    """A thousand tensors over one storage of a megabyte would take a gigabyte."""
    base = torch.zeros(2**18)
    torch.save([base[i:] for i in range(1000)], tmp_path / "views.pt")
    with pytest.raises(UnreadableFileError, match="far more data than it holds"):
        read_pickle(tmp_path / "views.pt")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"no weights file nothing\.pt"):
        read_pickle(tmp_path / "nothing.pt")


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.one_of(st.sampled_from(OPCODES), st.binary(max_size=6), st.sampled_from(
    [b"cos\nsystem\n", b"cbuiltins\neval\n", b"S'touch atelier_canary'\n", b"\x8c\x02os", b"\x8c\x06system", b"\x93", b"R",
     b"ccollections\nOrderedDict\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n"])), max_size=25))
def test_random_instructions_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: list[bytes]) -> None:
    def forbidden(*_: object) -> int:
        raise AssertionError("something was run")

    monkeypatch.setattr(os, "system", forbidden)
    monkeypatch.setattr("builtins.eval", forbidden)
    try:
        read_pickle(write(tmp_path / "random.pt", b"".join(parts) + b"."))
    except CheckpointError as error:
        message = str(error)
        assert message.startswith("random.pt")
        assert len(message) < 700


GOOD: list[bytes] = []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=4),
       cut=st.integers(0, 400), legacy=st.booleans())
def test_damaged_files_are_refused_or_read(tmp_path: Path, flips: list[tuple[int, int]], cut: int, legacy: bool) -> None:
    if not GOOD:
        for zipped in (True, False):
            buffer = io.BytesIO()
            torch.save(state(), buffer, _use_new_zipfile_serialization=zipped)
            GOOD.append(buffer.getvalue())
    data = bytearray(GOOD[legacy])
    for position, change in flips:
        data[position % len(data)] ^= change
    try:
        read_pickle(write(tmp_path / "damaged.pt", bytes(data[:len(data) - cut])))
    except CheckpointError as error:
        assert str(error).startswith("damaged.pt")  # noqa: PT017
