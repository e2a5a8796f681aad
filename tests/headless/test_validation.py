"""Validation names every problem at once, with node id, title and input, before anything runs."""

from __future__ import annotations

import pytest
from latent_atelier.headless.constants import UnfitConstant, check_limits, convert
from latent_atelier.headless.graph import Constant, Link
from latent_atelier.headless.node_types import InputSpec, by_id, object_info
from latent_atelier.headless.problems import InvalidWorkflowError, Problem
from latent_atelier.headless.validation import validate


def problems(bench, nodes, found=()) -> list[str]:
    with pytest.raises(InvalidWorkflowError) as caught, bench.context.activate():
        validate(bench.workflow(nodes), bench.classes, found)
    assert not [call for call in bench.calls if not call.startswith("validate")]
    return [str(problem) for problem in caught.value.problems]


def only(bench, nodes) -> str:
    (problem,) = problems(bench, nodes)
    return problem


def show(source="1", slot=0) -> dict:
    return {"9": ("ToyShow", {"value": [source, slot]})}


def test_all_problems_are_listed_at_once(bench):
    nodes = {
        "1": ("ToyNumber", {"value": 101}),
        "2": ("ToyAdd", {}),
        "3": ("ToyChoice", {"which": "up", "on": "maybe", "rate": "fast", "picture": ["1", 0]}),
        "4": ("NoSuchNode", {}),
        "5": ("ToySum", {"values": ["77", 0]}),
        "6": ("ToyShow", {"value": ["1", 0]}),
        "7": ("ToyShow", {"value": ["2", 3]}),
        "8": ("ToyShow", {"value": ["3", 0]}),
        "9": ("ToyShow", {"value": ["5", 0]}),
    }
    found = problems(bench, nodes, [Problem("a thing known before.")])
    expected = [
        "a thing known before.",
        "node 4 (NoSuchNode): the node class 'NoSuchNode' is not available here; run this workflow in ComfyUI itself.",
        "node 1 (ToyNumber), input value: 101 is above the largest allowed value 100.",
        "node 2 (ToyAdd), input a: a link or value of type INT is required, but nothing is given.",
        "node 3 (ToyChoice), input which: 'up' is not one of 'left', 'right'.",
        "node 3 (ToyChoice), input on: expected true or false, got 'maybe'.",
        "node 3 (ToyChoice), input rate: expected a number, got 'fast'.",
        "node 3 (ToyChoice), input picture: expected IMAGE, got INT from output 0 of node 1 (ToyNumber).",
        "node 5 (ToySum), input values: it is linked to node 77, which is not in the workflow.",
        "node 7 (ToyShow), input value: it is linked to output 3 of node 2 (ToyAdd), which has 1 output(s).",
    ]
    assert sorted(found) == sorted(expected)


def test_titles_are_named(bench):
    workflow = bench.workflow(show())
    named = {**workflow.nodes, "1": type(workflow.nodes["9"])("ToyNumber", {"value": -1}, "How many")}
    with pytest.raises(InvalidWorkflowError, match=r'node 1 "How many" \(ToyNumber\), input value: -1 is below'):
        validate(type(workflow)("test", named), bench.classes)


def test_close_names_are_suggested(bench):
    assert "did you mean ToyNumber?" in problems(bench, {"1": ("ToyNumbr", {"value": 1}), **show()})[0]


def test_no_output_node(bench):
    assert "no output node" in only(bench, {"1": ("ToyNumber", {"value": 1})})


def test_nodes_that_no_output_needs_may_be_unfinished(bench):
    graph = bench.graph({"1": ("ToyNumber", {"value": 1}), "2": ("ToyAdd", {}), **show()})
    assert set(graph.nodes) == {"1", "9"}


def test_cycles_are_named_with_their_path(bench):
    nodes = {"1": ("ToyAdd", {"a": ["2", 0]}), "2": ("ToyAdd", {"a": ["1", 0]}), **show()}
    assert "circle: 1 (ToyAdd) <- 2 (ToyAdd) <- 1 (ToyAdd)" in only(bench, nodes)
    own = {"1": ("ToyAdd", {"a": ["1", 0]}), **show()}
    assert "circle: 1 (ToyAdd) <- 1 (ToyAdd)" in only(bench, own)


@pytest.mark.parametrize(
    "link", [[], ["1"], ["1", 0, 0], [1, 0], ["1", "0"], ["1", True], ["1", -1], ["1", 1], ["x", 0]]
)
def test_bad_links(bench, link):
    assert "input value" in only(bench, {"1": ("ToyNumber", {"value": 1}), "9": ("ToyShow", {"value": link})})


@pytest.mark.parametrize(
    ("inputs", "word"),
    [
        ({"mixed": ["2", 0]}, None),
        ({"mixed": ["3", 1]}, None),
        ({"mixed": ["3", 0]}, "expected INT,IMAGE, got STRING"),
        ({"mixed": 3}, None),
        ({"mixed": "three"}, "expected a number"),
        ({"picture": 3}, "needs a link from an output of type IMAGE"),
        ({"picture": None}, None),
        ({"rate": float("nan")}, "finite"),
        ({"rate": 1.5}, "above"),
        ({"rate": None}, "expected a number"),
        ({"on": 1}, None),
        ({"on": "false"}, "true or false"),
    ],
)
def test_types_of_links_and_constants(bench, inputs, word):
    nodes = {
        "1": ("ToyChoice", {"which": "left", "on": True, "rate": 0.5, **inputs}),
        "2": ("ToyNumber", {"value": 1}),
        "3": ("ToyChoice", {"which": "left", "on": True, "rate": 0.5}),
        **show(),
    }
    if word is None:
        bench.graph(nodes)
    else:
        assert word in only(bench, nodes)


def test_constants_are_converted_as_the_host_does(bench):
    nodes = {"1": ("ToyChoice", {"which": "left", "on": 0, "rate": "0.25"}), "2": ("ToyNumber", {"value": 7.0})}
    graph = bench.graph({**nodes, **show(), "8": ("ToyShow", {"value": ["2", 0]})})
    assert graph.nodes["1"].inputs == {"which": Constant("left"), "on": Constant(False), "rate": Constant(0.25)}
    assert graph.nodes["2"].inputs == {"value": Constant(7)}
    assert graph.nodes["9"].inputs == {"value": Link("1", 0)}
    assert graph.prompt["1"]["inputs"]["rate"] == 0.25


def test_own_validation_takes_over_the_inputs_it_names(bench):
    assert "input even: 3 is odd, give an even number." in only(
        bench, {"1": ("ToyChecked", {"even": 3, "free": 1}), **show()}
    )
    bench.graph({"1": ("ToyChecked", {"even": 100, "free": 1}), **show()})
    assert "input free: 100 is above" in only(bench, {"1": ("ToyChecked", {"even": 2, "free": 100}), **show()})


def test_own_validation_sees_links_as_none_and_is_spared_unfit_values(bench):
    bench.graph({"1": ("ToyChecked", {"even": ["2", 0], "free": 1}), "2": ("ToyNumber", {"value": 1}), **show()})
    assert "validate None" in bench.calls
    bench.calls.clear()
    assert "whole number" in only(bench, {"1": ("ToyChecked", {"even": 2.5, "free": 1}), **show()})
    assert not bench.calls


def test_own_validation_of_types(bench):
    number = {"2": ("ToyNumber", {"value": 1}), "3": ("ToyChoice", {"which": "left", "on": True, "rate": 0.5})}
    bench.graph({"1": ("ToyTypes", {"value": ["2", 0]}), **number, **show()})
    assert "no STRING please." in only(bench, {"1": ("ToyTypes", {"value": ["3", 0]}), **number, **show()})


@pytest.mark.parametrize(
    ("io_type", "value", "result"),
    [
        ("INT", "5", 5),
        ("INT", 5.0, 5),
        ("INT", 2**60 + 1, 2**60 + 1),
        ("INT", str(2**60 + 1), 2**60 + 1),
        ("INT", True, 1),
        ("INT", 5.5, None),
        ("INT", "5.5", None),
        ("INT", {}, None),
        ("INT", float("inf"), None),
        ("FLOAT", "1e3", 1000.0),
        ("FLOAT", 10**400, None),
        ("STRING", 5, "5"),
        ("STRING", {"a": 1}, None),
        ("BOOLEAN", 2, None),
        ("*", {"a": 1}, {"a": 1}),
        ("COMBO", {"__value__": ["a", 1]}, ["a", 1]),
    ],
)
def test_conversions(io_type, value, result):
    spec = InputSpec("x", io_type, True, {})
    if result is None:
        with pytest.raises(UnfitConstant):
            convert(spec, value)
    else:
        assert convert(spec, value) == result
        assert type(convert(spec, value)) is type(result)


def test_choices():
    several = InputSpec("x", "COMBO", True, {"options": ["a", "b"], "multiselect": True})
    check_limits(several, ["b", "a"])
    with pytest.raises(UnfitConstant, match=r"'c' is not one of"):
        check_limits(several, ["a", "c"])
    with pytest.raises(UnfitConstant, match="no file or choice"):
        check_limits(InputSpec("x", "COMBO", True, {"options": []}), "a")
    many = InputSpec("x", "COMBO", True, {"options": [str(index) for index in range(99)]})
    with pytest.raises(UnfitConstant, match="and 79 more"):
        check_limits(many, "a")


def test_object_info_is_plain_json(bench):
    info = object_info(bench.classes)["ToyChoice"]
    assert info["input"]["required"]["which"][1]["options"] == ["left", "right"]
    assert info["output"] == ["STRING", "IMAGE"]
    with pytest.raises(ValueError, match="two node classes"):
        by_id([bench.classes["ToyAdd"], bench.classes["ToyAdd"]])
