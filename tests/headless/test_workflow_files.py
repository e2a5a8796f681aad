"""Workflows are read from API JSON, UI JSON and PNGs; whatever else a file holds is one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from latent_atelier.headless.node_types import object_info
from latent_atelier.headless.overrides import Override, apply_overrides, parse_override
from latent_atelier.headless.validation import validate
from latent_atelier.headless.workflow import WorkflowError, read_workflow, workflow_from_json
from latent_atelier.pipelines.errors import AtelierError
from PIL import Image, PngImagePlugin

API = {
    "1": {"class_type": "ToyNumber", "inputs": {"value": 3}, "_meta": {"title": "Three"}},
    "2": {"class_type": "ToyShow", "inputs": {"value": ["1", 0]}},
}


def node(id_, type_, inputs=(), outputs=(), widgets=(), **more) -> dict:
    return {
        "id": id_,
        "type": type_,
        "mode": 0,
        "inputs": [{"name": name, "type": kind, "link": link} for name, kind, link in inputs],
        "outputs": [{"name": kind, "type": kind, "links": links} for kind, links in outputs],
        "widgets_values": list(widgets),
        **more,
    }


UI = {
    "version": 0.4,
    "nodes": [
        node(1, "ToyNumber", outputs=[("INT", [1])], widgets=[3], title="Three"),
        node(2, "Reroute", [("", "*", 1)], [("*", [2])]),
        node(3, "ToyAdd", [("a", "INT", 2)], [("INT", [3])], widgets=[0, 20]),
        node(4, "ToyShow", [("value", "*", 3)]),
        node(5, "Note", widgets=["remember"]),
        node(6, "MarkdownNote", widgets=["# remember"]),
        node(7, "ToyShow", [("value", "*", None)], mode=2),
        node(8, "ToyChoice", widgets=["right", False, 0.25], outputs=[("STRING", [4]), ("IMAGE", [])]),
        node(9, "ToyShow", [("value", "*", 4)]),
    ],
    "links": [[1, 1, 0, 2, 0, "*"], [2, 2, 0, 3, 0, "*"], [3, 3, 0, 4, 0, "INT"], [4, 8, 0, 9, 0, "STRING"]],
}
UI["nodes"][6]["mode"] = 2


def test_api_form(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(API))
    workflow = read_workflow(tmp_path / "w.json", dict)
    assert workflow.name == "w.json"
    assert workflow.nodes["1"].title == "Three"
    assert workflow.nodes["2"].title == "ToyShow"
    assert workflow.extra_pnginfo is None


def test_the_body_of_a_post_to_the_host():
    body = {"prompt": API, "client_id": "x", "extra_data": {"extra_pnginfo": {"workflow": {"nodes": []}}}}
    workflow = workflow_from_json(body, "body", dict)
    assert set(workflow.nodes) == {"1", "2"}
    assert workflow.extra_pnginfo == {"workflow": {"nodes": []}}


def test_ui_form_is_converted_with_our_own_description(bench):
    workflow = workflow_from_json(UI, "ui", lambda: object_info(bench.classes))
    inputs = {key: (found.class_type, dict(found.inputs)) for key, found in workflow.nodes.items()}
    assert inputs == {
        "1": ("ToyNumber", {"value": 3}),
        "3": ("ToyAdd", {"a": ["1", 0], "b": 20}),
        "4": ("ToyShow", {"value": ["3", 0]}),
        "8": ("ToyChoice", {"which": "right", "on": False, "rate": 0.25}),
        "9": ("ToyShow", {"value": ["8", 0]}),
    }
    assert workflow.extra_pnginfo == {"workflow": UI}
    shown = bench.executor.run(validate(workflow, bench.classes))
    assert shown == {"4": {"text": ["23"]}, "9": {"text": ["right False 0.25 None"]}}


def test_png_with_a_workflow(tmp_path, bench):
    def save(**texts) -> None:
        info = PngImagePlugin.PngInfo()
        for key, value in texts.items():
            info.add_text(key, value if isinstance(value, str) else json.dumps(value))
        Image.new("RGB", (2, 2)).save(tmp_path / "w.png", pnginfo=info)

    def read():
        return read_workflow(tmp_path / "w.png", lambda: object_info(bench.classes))

    save(prompt=API, workflow=UI)
    assert set(read().nodes) == {"1", "2"}
    assert read().extra_pnginfo == {"workflow": UI}
    save(prompt=API)
    assert read().extra_pnginfo is None
    save(workflow=UI)
    assert set(read().nodes) == {"1", "3", "4", "8", "9"}
    save(prompt="{")
    with pytest.raises(WorkflowError, match="not valid JSON"):
        read()
    save(other="text")
    with pytest.raises(WorkflowError, match="carries no workflow"):
        read()


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "JSON|no workflow"),
        (b"[]", "expected a JSON object, got a list"),
        (b"{}", "no nodes"),
        (b'{"1": 5}', 'entry "1" should be a node'),
        (b'{"1": {"inputs": {}}}', "no class_type"),
        (b'{"1": {"class_type": "A", "inputs": []}}', "not an object"),
        (b'{"nodes": [], "links": []}', "no node to run"),
        (b'{"nodes": [], "links": 5}', "cannot be converted"),
        (b"\x89PNG\r\n\x1a\nrest", "cannot be read"),
    ],
)
def test_other_files_are_one_sentence(tmp_path, data, word):
    (tmp_path / "w.json").write_bytes(data)
    with pytest.raises(WorkflowError, match=word) as caught:
        read_workflow(tmp_path / "w.json", dict)
    assert "\n" not in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(WorkflowError, match="cannot be read"):
        read_workflow(tmp_path / "none.json", dict)
    with pytest.raises(WorkflowError, match="cannot be read"):
        read_workflow(tmp_path, dict)


KEYS = st.sampled_from(
    [
        "1",
        "2",
        "nodes",
        "links",
        "inputs",
        "class_type",
        "_meta",
        "title",
        "id",
        "type",
        "mode",
        "widgets_values",
        "definitions",
        "subgraphs",
        "prompt",
        "value",
        "link",
        "name",
        "outputs",
        "extra",
        "properties",
        "__value__",
    ]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 12)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(
        ["ToyNumber", "ToyShow", "ToyAdd", "ToyChoice", "ToyChecked", "ToyTypes", "Reroute", "PrimitiveNode"]
    )
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=25
)
LINKS = st.lists(st.sampled_from(["1", "2", "3"]) | st.integers(-1, 2), min_size=2, max_size=2)
PROMPTS = st.dictionaries(
    st.sampled_from(["1", "2", "3"]),
    st.fixed_dictionaries(
        {
            "class_type": st.sampled_from(["ToyNumber", "ToyShow", "ToyAdd", "ToyChoice", "ToyChecked", "ToyTypes"]),
            "inputs": st.dictionaries(
                st.sampled_from(["value", "a", "b", "which", "on", "rate", "mixed", "picture", "even", "free"]),
                JSON | LINKS,
                max_size=6,
            ),
        }
    ),
    min_size=1,
)


def outcome(call: Callable[[], object]) -> str:
    """ "fine", or the sentence; anything but an AtelierError is a defect and comes through."""
    try:
        call()
    except AtelierError as error:
        return str(error)
    return "fine"


QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(value=JSON | PROMPTS)
def test_no_json_whatsoever_raises_anything_but_a_sentence(bench, value):
    def read() -> None:
        with bench.context.activate():
            validate(workflow_from_json(value, "w", lambda: object_info(bench.classes)), bench.classes)

    assert outcome(read)


@QUICK
@given(nodes=st.lists(st.dictionaries(KEYS, JSON, max_size=6), max_size=4), links=JSON)
def test_no_broken_ui_form_raises_anything_but_a_sentence(bench, nodes, links):
    assert outcome(
        lambda: workflow_from_json({"nodes": nodes, "links": links}, "w", lambda: object_info(bench.classes))
    )


@QUICK
@given(
    node_id=st.from_regex(r"[^.=\s]{1,8}", fullmatch=True),
    name=st.from_regex(r"[^=\s]{1,12}", fullmatch=True),
    text=st.text(max_size=20),
)
def test_set_takes_any_value_apart(node_id, name, text):
    assert parse_override(f"{node_id}.{name}={text}") == Override(node_id, name, text)


@QUICK
@given(text=st.text(max_size=12))
def test_set_refuses_every_other_form_with_a_sentence(text):
    def read() -> None:
        override = parse_override(text)
        assert f"{override.node_id}.{override.input_name}={override.text}" == text

    message = outcome(read)
    assert message == "fine" or "ID.INPUT=VALUE" in message


@QUICK
@given(
    name=st.sampled_from(["value", "a", "which", "on", "rate", "mixed", "picture", "kind"]),
    node_id=st.sampled_from(["1", "2", "3"]),
    text=st.text(max_size=8) | JSON.map(json.dumps),
)
def test_any_override_gives_a_graph_or_a_list_of_problems(bench, node_id, name, text):
    workflow = bench.workflow(
        {"1": ("ToyChoice", {"which": "left", "on": True, "rate": 0.5}), "2": ("ToyShow", {"value": ["1", 0]})}
    )
    workflow, found = apply_overrides(workflow, [Override(node_id, name, text)], bench.classes)
    assert outcome(lambda: validate(workflow, bench.classes, found))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("1.value=7", 7),
        ("1.value=true", True),
        ("1.value=x y", "x y"),
        ("2.which=right", "right"),
        ("2.on=False", False),
        ("2.rate=0.5", 0.5),
        ('2.mixed=["1", 0]', ["1", 0]),
        ("3.kind=12", "12"),
        ('3.kind={"a": 1}', '{"a": 1}'),
        ("3.kind=", ""),
    ],
)
def test_values_take_the_declared_type(bench, argument, value):
    nodes = {"1": ("ToyNumber", {"value": 1}), "2": ("ToyChoice", {}), "3": ("ToyFail", {"kind": "x"})}
    override = parse_override(argument)
    changed, problems = apply_overrides(bench.workflow(nodes), [override], bench.classes)
    assert not problems
    assert changed.nodes[override.node_id].inputs[override.input_name] == value
    assert type(changed.nodes[override.node_id].inputs[override.input_name]) is type(value)


def test_overrides_that_name_nothing(bench):
    workflow = workflow_from_json(UI, "ui", lambda: object_info(bench.classes))
    wrong = [Override("77", "value", "1"), Override("1", "size", "1"), Override("1", "value", "5")]
    changed, problems = apply_overrides(workflow, wrong, bench.classes)
    assert [str(problem) for problem in problems] == [
        "--set names node '77'; the workflow has 1, 3, 4, 8, 9.",
        'node 1 "Three" (ToyNumber), input size: --set names an input that it does not have; it has value.',
    ]
    assert changed.extra_pnginfo is None
    assert apply_overrides(workflow, [], bench.classes)[0].extra_pnginfo == {"workflow": UI}
