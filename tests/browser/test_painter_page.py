"""The label painter in the real frontend: painting, keeping, sharing, running."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from latent_atelier.demo.make_images import shipped_cars
from latent_atelier.demo.scenes import render
from latent_atelier.headless.cli import main
from latent_atelier.pipelines.label_png import from_png
from latent_atelier.pipelines.label_text import decode_label_map
from PIL import Image

ROOT = Path(__file__).parents[2]
HOSTILE = "<img src=x onerror=window.hacked=1>"
BLANK = {"labels": f"background, sky, {HOSTILE}, sea", "width": 96, "height": 64}


def test_strokes_undo_and_redo(page) -> None:
    node = page.add(**BLANK)
    assert page.value(node) == ""
    page.choose(node, "brush", 3, size=5)
    page.drag(node, (20, 20), (60, 20))
    ids = page.ids(node)
    assert ids.count(3) == page.painter(node, "p.model.changed") > 180
    assert ids[20 * 96 + 20] == ids[20 * 96 + 60] == 3
    text = page.value(node)
    assert decode_label_map(text).ids.flatten().tolist() == ids
    page.page.keyboard.press("Control+z")
    assert set(page.ids(node)) == {0}
    assert page.value(node) == ""
    page.page.keyboard.press("Control+Shift+z")
    assert page.ids(node) == ids
    assert page.value(node) == text
    assert page.js("() => app.graph.nodes.length") == 1  # the frontend's own undo was not asked


def test_every_tool(page) -> None:
    node = page.add(**BLANK)
    page.choose(node, "polygon", 1)
    for corner in ((10, 10), (30, 10), (30, 30), (10, 30)):
        page.click(node, *corner)
    page.page.keyboard.press("Enter")
    assert page.ids(node).count(1) == pytest.approx(400, abs=40)
    page.choose(node, "fill", 3)
    page.click(node, 20, 20)
    assert page.ids(node).count(1) == 0
    page.choose(node, "pick")
    page.choose(node, label=1)
    page.click(node, 20, 20)
    assert page.painter(node, "p.chosen()") == 3
    page.choose(node, "line", 2, size=1)
    page.drag(node, (50, 50), (80, 50))
    assert page.ids(node)[50 * 96 + 50:50 * 96 + 81] == [2] * 31
    page.choose(node, "move")
    page.drag(node, (20, 20), (60, 20))
    ids = page.ids(node)
    assert (ids[20 * 96 + 20], ids[20 * 96 + 60]) == (0, 3)
    page.choose(node, "erase", size=9)
    page.drag(node, (60, 20), (60, 20))
    assert page.ids(node)[20 * 96 + 60] == 0
    before = page.painter(node, "p.state.size")
    page.page.keyboard.press("]")
    assert page.painter(node, "p.state.size") > before
    page.page.keyboard.press("l")
    assert page.painter(node, "p.state.tool") == "line"


def test_locked_and_hidden_labels_and_search(page) -> None:
    node = page.add(**BLANK)
    page.choose(node, "fill", 1)
    page.click(node, 5, 5)
    row = page.page.locator(".atelier-painter .label").nth(1)
    row.locator("button").nth(1).click()
    page.choose(node, "brush", 2, size=20)
    page.drag(node, (10, 10), (50, 50))
    assert set(page.ids(node)) == {1}
    row.locator("button").nth(0).click()
    assert page.painter(node, "p.model.hidden.has(1)")
    page.page.locator(".atelier-painter input[type=search]").fill("SEA")
    assert page.page.locator(".atelier-painter .label:visible").count() == 1


def test_a_name_is_only_a_name(page) -> None:
    page.add(**BLANK)
    assert page.page.locator(".atelier-painter .name").nth(2).inner_text() == HOSTILE
    assert page.page.locator(".atelier-painter img").count() == 0
    assert page.js("() => window.hacked") is None


def test_zoom_pan_pen_and_touch(page) -> None:
    node = page.add(**BLANK)
    page.choose(node, "pick")
    page.click(node, 48, 32)  # the wheel belongs to the painter while it has the focus
    page.choose(node, "brush", 1, size=3)
    page.page.mouse.wheel(0, -600)
    page.page.wait_for_timeout(100)
    scale = page.painter(node, "p.view.scale")
    page.painter(node, "p.actions().fit()")
    assert scale > 1.5 * page.painter(node, "p.view.scale")
    assert page.js("() => app.canvas.ds.scale") == 1
    for kind in ("pen", "touch"):
        page.painter(node, """(() => { for (const [type, x, y] of a[1]) p.canvas.dispatchEvent(new PointerEvent(type, {
            pointerId: 7, pointerType: a[0], clientX: x, clientY: y, pressure: 0, bubbles: true, isPrimary: true })); })()""",
                     [kind, [("pointerdown", *page.at(node, 10, 10)), ("pointermove", *page.at(node, 30, 10)),
                             ("pointerup", *page.at(node, 30, 10))]])
        assert page.ids(node)[10 * 96 + 20] == 1, kind
        page.painter(node, "p.actions().undo()")
        assert page.ids(node)[10 * 96 + 20] == 0
    before = page.painter(node, "p.view.scale")
    page.painter(node, """(() => { const send = (type, id, x) => p.canvas.dispatchEvent(new PointerEvent(type, { pointerId: id,
        pointerType: 'touch', clientX: x, clientY: a[1], bubbles: true }));
        send('pointerdown', 1, a[0] - 20); send('pointerdown', 2, a[0] + 20); send('pointermove', 1, a[0] - 60);
        send('pointermove', 2, a[0] + 60); send('pointerup', 1, a[0] - 60); send('pointerup', 2, a[0] + 60); })()""",
                 list(page.at(node, 48, 32)))
    assert page.painter(node, "p.view.scale") > 2 * before
    assert set(page.ids(node)) == {0}


def test_the_drawing_is_in_the_prompt_and_survives_a_reload(page) -> None:
    node = page.add(**BLANK)
    page.choose(node, "brush", 1, size=7)
    page.drag(node, (20, 20), (60, 40))
    ids, text = page.ids(node), page.value(node)
    prompt = page.queue()
    assert [entry["inputs"]["drawing"] for entry in prompt.values()] == [text]
    page.page.wait_for_timeout(2500)  # the frontend saves its draft after a while
    page.open()
    nodes = page.js("() => app.graph.nodes.map((n) => n.id)")
    assert len(nodes) == 1
    assert page.ids(nodes[0]) == ids


def test_a_copy_keeps_its_drawing_and_shares_nothing(page) -> None:
    node = page.add(**BLANK)
    page.choose(node, "brush", 2, size=7)
    page.drag(node, (20, 20), (40, 20))
    copy = page.js("""async (id) => { app.canvas.copyToClipboard([app.graph.getNodeById(id)]); app.canvas.pasteFromClipboard();
        await new Promise((done) => setTimeout(done, 600)); return app.graph.nodes.find((n) => n.id !== id).id; }""", node)
    page.js("(id) => { app.graph.getNodeById(id).pos = [760, 120]; app.canvas.setDirty(true, true); }", copy)
    page.page.wait_for_timeout(500)
    assert page.ids(copy) == page.ids(node)
    before = page.ids(node)
    page.choose(copy, "brush", 3, size=9)
    page.drag(copy, (50, 50), (80, 50))
    assert page.ids(node) == before != page.ids(copy)
    assert page.painter(node, "p.state.label") == 2


def test_the_saved_workflow_runs_headless_with_the_same_map(page, tmp_path: Path) -> None:
    node = page.add(**BLANK)
    page.choose(node, "brush", 1, size=9)
    page.drag(node, (20, 20), (60, 40))
    page.choose(node, "polygon", 3)
    for corner in ((70, 10), (90, 10), (80, 60)):
        page.click(node, *corner)
    page.page.keyboard.press("Enter")
    assert decode_label_map(page.value(node)).ids.flatten().tolist() == page.ids(node)
    workflow = page.js("""async (id) => { const save = LiteGraph.createNode('AtelierSaveLabelMap'); app.graph.add(save);
        app.graph.getNodeById(id).connect(0, save, 0); return (await app.graphToPrompt()).workflow; }""", node)
    (tmp_path / "workflow.json").write_text(json.dumps(workflow))
    assert main(["run", str(tmp_path / "workflow.json"), "--quiet", "--output", str(tmp_path / "out")]) == 0
    saved = from_png(next((tmp_path / "out").rglob("*.png")).read_bytes())
    assert saved.ids.flatten().tolist() == page.ids(node)
    assert saved.labels.names == ("background", "sky", HOSTILE, "sea")


def car_graph(page) -> int:
    """A sampled car and its parts, into the painter; returns the painter's node."""
    return page.js("""async () => {
        const make = (type, x, y, values = {}) => { const n = LiteGraph.createNode(type); n.pos = [x, y]; app.graph.add(n);
          for (const [k, v] of Object.entries(values)) n.widgets.find((w) => w.name === k).value = v; return n; };
        const models = make('AtelierLoadEditGANModels', -900, 0);
        const sample = make('AtelierSampleLatents', -600, 0, { seed: 3, count: 1 });
        const generate = make('AtelierGenerate', -300, 0), paint = make('AtelierPaintLabelMap', 60, 120);
        const show = make('PreviewImage', 700, 120), look = make('AtelierLabelMapPreview', 1100, 120);
        models.connect(0, sample, 0); models.connect(0, generate, 0);
        models.connect(2, generate, 1); sample.connect(0, generate, 2);
        generate.connect(1, paint, paint.findInputSlot('label_map')); generate.connect(0, paint, paint.findInputSlot('image'));
        paint.connect(0, look, 0); look.connect(0, show, 0);
        app.canvas.ds.scale = 1; app.canvas.ds.offset = [0, 0]; app.canvas.setDirty(true, true);
        await new Promise((done) => setTimeout(done, 700));
        return paint.id; }""")


def test_upstream_map_picture_and_names_come_with_a_run(page) -> None:
    node = car_graph(page)
    page.queue()
    page.page.wait_for_function("(id) => app.graph.getNodeById(id).atelierPainter.base", arg=node, timeout=60_000)
    assert page.painter(node, "p.model.names.includes('tyre') && p.model.width === 64")
    page.page.wait_for_function("(id) => app.graph.getNodeById(id).atelierPainter.view.picture", arg=node)
    assert page.painter(node, "p.model.changed") == 0
    tyre = page.painter(node, "p.model.names.indexOf('tyre')")
    page.choose(node, "brush", tyre, size=6)
    page.drag(node, (30, 10), (40, 10))
    assert page.painter(node, "p.model.changed") > 40
    drawing = next(e["inputs"]["drawing"] for e in page.queue().values() if e["class_type"] == "AtelierPaintLabelMap")
    assert len(drawing) < 700
    page.page.wait_for_timeout(1500)
    assert page.painter(node, "p.model.changed") > 40
    page.painter(node, "p.actions().before(true)")
    assert page.painter(node, "p.view.before")
    page.painter(node, "p.actions().before(false)")
    page.choose(node, "erase", size=20)
    page.drag(node, (30, 10), (40, 10))
    assert page.painter(node, "p.model.changed") == 0
    assert page.value(node) == ""


def test_painting_runs_a_queue_that_runs_on_change(page) -> None:
    node = page.add(**BLANK)
    show = page.js("""(id) => { const n = LiteGraph.createNode('AtelierLabelMapPreview'); n.pos = [900, 120]; app.graph.add(n);
        app.graph.getNodeById(id).connect(0, n, 0); app.ui.autoQueueMode = 'change'; app.ui.autoQueueEnabled = true;
        return n.id; }""", node)
    assert show
    page.page.wait_for_timeout(400)
    page.queue()
    page.page.wait_for_timeout(1500)
    page.choose(node, "brush", 1, size=5)
    with page.page.expect_request(lambda r: r.url.endswith("/prompt") and r.method == "POST", timeout=15_000) as sent:
        page.drag(node, (20, 20), (60, 20))
    prompt = json.loads(sent.value.post_data)["prompt"]
    drawing = next(e["inputs"]["drawing"] for e in prompt.values() if e["class_type"] == "AtelierPaintLabelMap")
    assert decode_label_map(drawing).ids.flatten().tolist() == page.ids(node)


CABIN = [("roof", [(23.5, 29.5), (32.5, 13.5), (43.5, 13.5), (50.5, 29.5)]),
         ("front window", [(25.5, 29.5), (31.5, 16.5), (36.5, 16.5), (36.5, 29.5)]),
         ("rear window", [(39.5, 29.5), (39.5, 16.5), (43, 16.5), (47.5, 29.5)])]


def test_the_picture_follows_the_brush(page, film) -> None:
    """The shipped workflow: a taller cabin is painted, the queue runs on change, and the renderer knows what should come."""
    workflow = json.loads((ROOT / "workflows" / "paint_and_edit.json").read_text())
    for entry in workflow["nodes"]:
        if entry["type"] == "AtelierPaintLabelMap":
            entry["widgets_values"][0] = ""
    page.js("async (workflow) => { await app.loadGraphData(workflow); }", workflow)
    page.page.wait_for_timeout(800)
    node = page.js("""() => { const find = (type) => app.graph.nodes.find((n) => n.type === type);
        const paint = find('AtelierPaintLabelMap'), ds = app.canvas.ds;
        ds.scale = 1;
        ds.offset = [60 - paint.pos[0], 110 - paint.pos[1]];
        find('PreviewImage').pos = [paint.pos[0] + 600, paint.pos[1]];
        find('AtelierOptimiseEditVector').pos = [paint.pos[0], paint.pos[1] + 1000];
        app.canvas.setDirty(true, true);
        return paint.id; }""")
    pictures: list[str] = []
    page.page.on("response", lambda r: pictures.append(r.url) if "/view" in r.url and "type=temp" in r.url else None)
    page.queue()
    page.page.wait_for_function("(id) => app.graph.getNodeById(id).atelierPainter.view.picture", arg=node, timeout=90_000)
    page.page.wait_for_timeout(1500)
    page.js("() => { app.ui.autoQueueMode = 'change'; app.ui.autoQueueEnabled = true; }")
    film.shoot(page, 2)
    page.choose(node, "polygon")
    for name, corners in CABIN:
        page.choose(node, label=page.painter(node, "p.model.names.indexOf(a)", name))
        for corner in corners:
            page.click(node, *corner)
            film.shoot(page)
        seen, idle = len(pictures), 0
        page.page.keyboard.press("Enter")
        page.page.wait_for_timeout(150)
        film.shoot(page)
        for _ in range(240):  # a minute, for a busy machine
            page.page.wait_for_timeout(250)
            left = page.js("async () => (await (await fetch('/api/prompt')).json()).exec_info.queue_remaining")
            idle = 0 if left else idle + 1
            if idle >= (4 if len(pictures) > seen else 20):  # nothing is computed any more, a second after a picture or five
                break
        film.shoot(page, 3)
    page.js("() => { app.ui.autoQueueEnabled = false; }")
    film.save()
    shown = [Image.open(io.BytesIO(page.page.request.get(url).body())).convert("RGB") for url in dict.fromkeys(pictures)]
    car = shipped_cars()[0]
    before, after = (render(c, 64)[0] / 255.0 for c in (car, car.replace(cabin_height=car.cabin_height * 1.35)))
    where = np.abs(after - before).max(axis=2) > 0.15
    errors = [float(((np.asarray(p) / 255.0 - after) ** 2)[where].mean()) for p in shown if p.size == (64, 64)]
    assert min(errors) < 0.5 * max(errors), errors
    drawing = next(e["inputs"]["drawing"] for e in page.queue().values() if e["class_type"] == "AtelierPaintLabelMap")
    assert len(drawing) < 900


def test_pictures_go_out_and_come_in(page, tmp_path: Path) -> None:
    node = page.add(**BLANK)
    page.choose(node, "brush", 2, size=9)
    page.drag(node, (20, 20), (60, 40))
    ids = page.ids(node)
    with page.page.expect_download() as download:
        page.painter(node, "p.exportPng()")
    path = tmp_path / "map.png"
    download.value.save_as(path)
    assert from_png(path.read_bytes()).ids.flatten().tolist() == ids
    page.painter(node, "p.startAnew()")
    assert set(page.ids(node)) == {0}
    with page.page.expect_file_chooser() as chooser:
        page.painter(node, "p.importPng()")
    chooser.value.set_files(path)
    page.page.wait_for_timeout(400)
    assert page.ids(node) == ids
    with page.page.expect_file_chooser() as chooser:
        page.painter(node, "p.importPng()")
    chooser.value.set_files({"name": "x.png", "mimeType": "image/png", "buffer": b"GIF89a"})
    page.page.wait_for_timeout(300)
    assert page.page.locator(".atelier-painter .message").inner_text() == "The file is no PNG picture."
    assert page.ids(node) == ids


def test_a_damaged_drawing_is_said_and_kept(page) -> None:
    node = page.add(**BLANK)
    page.painter(node, "p.setValue('atelier-labels:9:AAAA')")
    message = page.page.locator(".atelier-painter .message").inner_text()
    assert message == "The label text has version '9', this pack reads version '1'; update the pack."
    assert page.painter(node, "p.value") == "atelier-labels:9:AAAA"
