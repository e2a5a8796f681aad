"""How long an artist waits: from a slider, or from the end of a stroke, to the picture on the page.

    python benchmarks/live_latency.py [--times 12]

The real frontend runs in headless Chromium; a stand-in for the host works off its queue with the headless executor. The time
counts from the change in the page until the browser has the new picture, everything in between included: serialising the
graph, HTTP, the networks, the PNG. Needs what the tests in the page need (`python3 start.py test`).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tests" / "helpers"))

MARK = """() => { window.arrived = 0; new PerformanceObserver((list) => { for (const e of list.getEntries())
    if (e.name.includes('/view') && e.name.includes('type=temp')) window.arrived = e.responseEnd;
    }).observe({ type: 'resource' }); }"""
SHOW = """() => { const n = app.graph.nodes.find((n) => n.type === 'PreviewImage'), ds = app.canvas.ds; ds.scale = 1;
    ds.offset = [300 - n.pos[0], 200 - n.pos[1]]; app.canvas.setDirty(true, true); }"""  # what is out of sight is not loaded
SLIDE = """async (value) => { const w = app.graph.nodes.find((n) => n.type === 'AtelierApplyEditVector').widgets.find(
    (w) => w.name === 'strength'); const begin = performance.now(); window.arrived = 0; w.value = value; w.callback?.(value);
    await app.queuePrompt(0); while (!window.arrived && performance.now() - begin < 20000)
    await new Promise((done) => setTimeout(done, 4)); return window.arrived - begin; }"""
STROKE = """async (label) => { const p = app.graph.nodes.find((n) => n.type === 'AtelierPaintLabelMap').atelierPainter;
    await p.settled(); const x = 30 + Math.floor(Math.random() * 10); const begin = performance.now(); window.arrived = 0;
    p.committed(p.model.edit(() => p.model.stroke(x, 36, x, 41, { size: 3, shape: 'round' }, label)));
    await p.settled(); await app.queuePrompt(0);
    while (!window.arrived && performance.now() - begin < 20000) await new Promise((done) => setTimeout(done, 4));
    return window.arrived - begin; }"""


def strength_workflow() -> dict[str, Any]:
    """A saved vector on one car, in the API form."""
    demo = "toy_cars_64.safetensors"
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": "toy_car_2.png"}},
        "2": {"class_type": "AtelierLoadEditGANModels", "inputs": dict.fromkeys(
            ("generator", "encoder", "segmenter", "perceptual"), demo)},
        "3": {"class_type": "AtelierEncodeToWPlus", "inputs": {
            "image": ["1", 0], "generator": ["2", 0], "encoder": ["2", 1], "perceptual": ["2", 3], "steps": 30,
            "learning_rate": 0.1, "anchor": 0.0}},
        "4": {"class_type": "AtelierLoadEditVector", "inputs": {"edit_vector": "toy_cars_64_larger_wheels.safetensors"}},
        "5": {"class_type": "AtelierApplyEditVector", "inputs": {
            "w_plus": ["3", 0], "edit_vector": ["4", 0], "strength": 0.0, "first_row": 0, "last_row": 17}},
        "6": {"class_type": "AtelierGenerate", "inputs": {"generator": ["2", 0], "segmenter": ["2", 2], "w_plus": ["5", 0]}},
        "7": {"class_type": "PreviewImage", "inputs": {"images": ["6", 0]}}}


def row(name: str, milliseconds: list[float]) -> None:
    sys.stdout.write(f"{name:44s} median {statistics.median(milliseconds):6.0f} ms   worst {max(milliseconds):6.0f} ms\n")


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=12)
    times = parser.parse_args().times
    from page_server import page_server
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with tempfile.TemporaryDirectory() as place, page_server(Path(place)) as server, sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(server.url)
        page.wait_for_function("window.app?.canvas && window.app?.extensionManager")
        page.wait_for_timeout(1500)
        page.evaluate(MARK)
        page.evaluate("async (prompt) => { await app.loadApiJson(prompt, 'latency'); }", strength_workflow())
        page.evaluate(SHOW)
        page.wait_for_timeout(800)
        page.evaluate(SLIDE, 0.01)
        row("strength slider to picture", [page.evaluate(SLIDE, 0.05 * i + 0.1) for i in range(times)])
        painting = json.loads((ROOT / "workflows" / "paint_and_edit.json").read_text())
        page.evaluate("async (workflow) => { await app.loadGraphData(workflow); }", painting)
        page.evaluate(SHOW)
        page.wait_for_timeout(800)
        page.evaluate("() => app.queuePrompt(0)")
        page.wait_for_function("() => app.graph.nodes.find((n) => n.atelierPainter)?.atelierPainter.view.picture",
                               timeout=90_000)
        page.wait_for_timeout(6000)
        page.evaluate(STROKE, 10)
        row("brush stroke to picture (15 live steps)", [page.evaluate(STROKE, 10 if i % 2 else 1) for i in range(times)])
        browser.close()


if __name__ == "__main__":
    main()
