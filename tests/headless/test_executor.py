"""The executor keeps the host's rules: caching, lists, lazy inputs, blocking, hidden values, inference mode."""

from __future__ import annotations

import pytest
import torch
from latent_atelier.headless.executor import NodeFailedError, NodeRecord


class Records:
    def __init__(self) -> None:
        self.status: dict[str, str] = {}

    def started(self, node) -> None: ...

    def finished(self, record: NodeRecord) -> None:
        assert record.node.id not in self.status
        self.status[record.node.id] = record.status


def chain(value: int = 3) -> dict:
    return {
        "1": ("ToyNumber", {"value": value}),
        "2": ("ToyAdd", {"a": ["1", 0]}),
        "3": ("ToyShow", {"value": ["2", 0]}),
    }


def test_runs_in_order_and_only_what_is_needed(bench):
    nodes = chain() | {"9": ("ToyNumber", {"value": 7})}
    assert bench.texts(nodes) == {"3": ["13"]}
    assert bench.calls == ["number 3", "add 3 10", "show 13"]


def test_unchanged_nodes_do_not_run_again(bench):
    bench.run(chain())
    bench.calls.clear()
    records = Records()
    assert bench.run(chain(), records) == {"3": {"text": ["13"]}}
    assert bench.calls == []
    assert records.status == {"1": "cached", "2": "cached", "3": "cached"}


def test_a_changed_constant_runs_what_depends_on_it(bench):
    nodes = chain() | {"4": ("ToyNumber", {"value": 8}), "5": ("ToyShow", {"value": ["4", 0]})}
    bench.run(nodes)
    bench.calls.clear()
    records = Records()
    bench.run(nodes | {"1": ("ToyNumber", {"value": 4})}, records)
    assert bench.calls == ["number 4", "add 4 10", "show 14"]
    assert records.status == {"1": "run", "2": "run", "3": "run", "4": "cached", "5": "cached"}


def test_results_of_the_run_before_last_are_forgotten(bench):
    for value in (3, 4, 3):
        bench.run(chain(value))
    assert bench.calls.count("number 3") == 2


def test_node_ids_do_not_matter_to_the_cache(bench):
    bench.run(chain())
    bench.calls.clear()
    renamed = {
        "a": ("ToyNumber", {"value": 3}),
        "b": ("ToyAdd", {"a": ["a", 0]}),
        "c": ("ToyShow", {"value": ["b", 0]}),
    }
    bench.run(renamed)
    assert bench.calls == []


def test_equal_nodes_of_one_graph_run_once(bench):
    nodes = {
        "1": ("ToyNumber", {"value": 5}),
        "2": ("ToyNumber", {"value": 5}),
        "3": ("ToyAdd", {"a": ["1", 0], "b": ["2", 0]}),
        "4": ("ToyShow", {"value": ["3", 0]}),
    }
    assert bench.texts(nodes) == {"4": ["10"]}
    assert bench.calls.count("number 5") == 1


@pytest.mark.parametrize(
    ("first", "second", "runs"),
    [
        (1, 1, 1),
        (1, 2, 2),
        ({"a": [1, 2.5]}, {"a": [1, 2.5]}, 1),
        (float("nan"), float("nan"), 2),
        (object(), object(), 2),
        (OSError("gone"), OSError("gone"), 2),
    ],
)
def test_fingerprints_decide(bench, first, second, runs):
    nodes = {"1": ("ToyStamp", {"value": 1}), "2": ("ToyAdd", {"a": ["1", 0]}), "3": ("ToyShow", {"value": ["2", 0]})}
    for stamp in (first, second):
        bench.state["stamp"] = stamp
        bench.run(nodes)
    assert bench.calls.count("stamp") == bench.calls.count("add 1 10") == runs


def test_what_finished_before_a_failure_is_kept(bench):
    nodes = {
        "1": ("ToyNumber", {"value": 3}),
        "2": ("ToyShow", {"value": ["1", 0]}),
        "3": ("ToyFail", {"kind": "input"}),
        "4": ("ToyShow", {"value": ["3", 0]}),
    }
    records = Records()
    with pytest.raises(NodeFailedError, match=r"node 3 .*\(ToyFail\): the moon is not a picture"):
        bench.run(nodes, records)
    assert records.status == {"1": "run", "2": "run", "3": "failed"}
    bench.calls.clear()
    with pytest.raises(NodeFailedError):
        bench.run(nodes)
    assert bench.calls == []


def test_an_unexpected_error_is_logged_with_its_traceback(bench, caplog):
    nodes = {"3": ("ToyFail", {"kind": "bug"}), "4": ("ToyShow", {"value": ["3", 0]})}
    with pytest.raises(NodeFailedError, match=r"RuntimeError: broken inside"):
        bench.run(nodes)
    assert "Traceback" in caplog.text


def test_lists_call_a_node_once_per_item(bench):
    nodes = {
        "1": ("ToyRange", {"n": 3}),
        "2": ("ToyAdd", {"a": ["1", 0], "b": 100}),
        "3": ("ToyShow", {"value": ["2", 0]}),
        "4": ("ToySum", {"values": ["2", 0]}),
        "5": ("ToyShow", {"value": ["4", 0]}),
    }
    assert bench.texts(nodes) == {"3": ["100", "101", "102"], "5": ["303"]}
    assert "sum [100, 101, 102]" in bench.calls


def test_shorter_lists_repeat_their_last_item(bench):
    nodes = {
        "1": ("ToyRange", {"n": 4}),
        "2": ("ToyRange", {"n": 2}),
        "3": ("ToyAdd", {"a": ["1", 0], "b": ["2", 0]}),
        "4": ("ToyShow", {"value": ["3", 0]}),
    }
    assert bench.texts(nodes) == {"4": ["0", "2", "3", "4"]}


def test_an_empty_list_is_named(bench):
    nodes = {"1": ("ToyRange", {"n": 0}), "2": ("ToyAdd", {"a": ["1", 0]}), "3": ("ToyShow", {"value": ["2", 0]})}
    with pytest.raises(NodeFailedError, match=r"node 2 .*input a: the list .* node 1 .* is empty"):
        bench.run(nodes)


@pytest.mark.parametrize(("flag", "ran"), [(True, "number 1"), (False, "number 2")])
def test_lazy_inputs_run_only_when_asked_for(bench, flag, ran):
    nodes = {
        "1": ("ToyNumber", {"value": 1}),
        "2": ("ToyNumber", {"value": 2}),
        "3": ("ToyPick", {"flag": flag, "yes": ["1", 0], "no": ["2", 0]}),
        "4": ("ToyShow", {"value": ["3", 0]}),
    }
    records = Records()
    bench.run(nodes, records)
    assert [call for call in bench.calls if call.startswith("number")] == [ran]
    assert sorted(records.status.values()) == ["run", "run", "run", "skipped"]


def test_blocked_items_are_not_run(bench):
    nodes = {
        "1": ("ToyRange", {"n": 4}),
        "2": ("ToyBlock", {"value": ["1", 0]}),
        "3": ("ToyAdd", {"a": ["2", 0]}),
        "4": ("ToyShow", {"value": ["3", 0]}),
    }
    assert bench.texts(nodes) == {"4": ["10", "12"]}


def test_nodes_meet_the_hosts_conditions(bench):
    nodes = {"1": ("ToyMode", {}), "2": ("ToyShow", {"value": ["1", 0]})}
    assert bench.texts(nodes) == {"2": ["True False"]}
    assert not torch.is_inference_mode_enabled()


def test_async_nodes_are_awaited(bench):
    nodes = {"1": ("ToyAsync", {"value": 1}), "2": ("ToyShow", {"value": ["1", 0]})}
    assert bench.texts(nodes) == {"2": ["2"]}


def test_hidden_values_are_filled_and_classes_stay_clean(bench):
    nodes = {"7": ("ToyId", {}), "8": ("ToyId", {}), "1": ("ToyShow", {"value": ["7", 0]})}
    nodes["2"] = ("ToyShow", {"value": ["8", 0]})
    classes = ["ToyId", "ToyId", "ToyShow", "ToyShow"]
    assert bench.texts(nodes) == {"1": [f"7 {classes} None"], "2": [f"8 {classes} None"]}
    assert not hasattr(bench.classes["ToyId"], "leak")


def test_interrupt_passes_through_and_is_recorded(bench):
    nodes = {"3": ("ToyFail", {"kind": "interrupt"}), "4": ("ToyShow", {"value": ["3", 0]})}
    records = Records()
    with pytest.raises(KeyboardInterrupt):
        bench.run(nodes, records)
    assert records.status == {"3": "cancelled"}


def test_very_long_chains_need_no_deep_stack(bench):
    nodes = {"0": ("ToyNumber", {"value": 0})}
    for index in range(1, 3000):
        nodes[str(index)] = ("ToyAdd", {"a": [str(index - 1), 0], "b": 1})
    nodes["end"] = ("ToyShow", {"value": ["2999", 0]})
    assert bench.texts(nodes) == {"end": ["2999"]}


def test_diamonds_do_not_explode(bench):
    nodes = {"0": ("ToyNumber", {"value": 1})}
    for index in range(1, 60):
        nodes[str(index)] = ("ToyAdd", {"a": [str(index - 1), 0], "b": [str(index - 1), 0]})
    nodes["end"] = ("ToyShow", {"value": ["59", 0]})
    assert bench.texts(nodes) == {"end": [str(2**59)]}
