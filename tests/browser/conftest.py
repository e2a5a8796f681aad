"""The real frontend in headless Chromium, in both of its renderers, on a stand-in for the host or on the host itself.

The stand-in serves the pages of comfyui-frontend-package; COMFYUI_PATH names a ComfyUI to use instead.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
NODE = "AtelierPaintLabelMap"
CLIP = {"x": 50, "y": 60, "width": 1080, "height": 860}
FILM_SECONDS = 20


def find_chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("there is no Chromium here; `python3 start.py test` installs Debian's where it can")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    path = find_chromium()
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page."""
    place = tmp_path_factory.mktemp("page")
    if os.environ.get("COMFYUI_PATH"):
        from real_host import real_host

        with real_host(place) as host:
            yield host.url
        return
    from page_server import page_server

    with page_server(place) as server:
        yield server.url


class Page:
    """A page with the graph editor, and the painter's node in it."""

    def __init__(self, page: Any, url: str, vue: bool) -> None:
        self.page, self.url, self.vue = page, url, vue
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self) -> None:
        self.page.goto(self.url)
        self.page.wait_for_function("window.app?.vueAppReady !== false && window.app?.canvas && window.app?.extensionManager")
        self.page.wait_for_timeout(1200)
        self.page.keyboard.press("Escape")

    def js(self, code: str, argument: Any = None) -> Any:
        return self.page.evaluate(code, argument)

    def add(self, **widgets: Any) -> int:
        """A painter's node at the left; returns its id."""
        found = self.js("""async ([type, widgets]) => {
            const node = LiteGraph.createNode(type);
            node.pos = [60 + 600 * app.graph.nodes.length, 120];
            for (const [name, value] of Object.entries(widgets)) {
              const widget = node.widgets.find((w) => w.name === name);
              widget.value = value;
              widget.callback?.(value);
            }
            app.graph.add(node);
            app.canvas.ds.scale = 1;
            app.canvas.ds.offset = [0, 0];
            app.canvas.setDirty(true, true);
            return node.id; }""", [NODE, widgets])
        self.page.wait_for_timeout(700)
        return found

    def painter(self, node: int, code: str, argument: Any = None) -> Any:
        """The value of an expression of `p`, the node's painter, and `a`, the argument."""
        return self.js(f"""async ([id, a]) => {{ const p = app.graph.getNodeById(id).atelierPainter; await p.settled();
            return ({code}); }}""", [node, argument])

    def canvas(self, node: int) -> dict[str, float]:
        """The place of the node's canvas on the page."""
        return self.painter(node, "(({x, y, width, height}) => ({x, y, width, height}))(p.canvas.getBoundingClientRect())")

    def at(self, node: int, x: float, y: float) -> tuple[float, float]:
        """Where the middle of a pixel of the map is on the page."""
        return tuple(self.painter(node, """(() => { const r = p.canvas.getBoundingClientRect(), v = p.view;
            return [r.left + (v.x + (a[0] + 0.5) * v.scale) * r.width / p.canvas.width,
                    r.top + (v.y + (a[1] + 0.5) * v.scale) * r.height / p.canvas.height]; })()""", [x, y]))

    def drag(self, node: int, *points: tuple[float, float], steps: int = 6) -> None:
        places = [self.at(node, *point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=steps)
        self.page.mouse.up()
        self.page.wait_for_timeout(120)

    def click(self, node: int, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(node, x, y))
        self.page.wait_for_timeout(80)

    def choose(self, node: int, tool: str | None = None, label: int | None = None, size: int | None = None) -> None:
        if tool:
            self.painter(node, "p.actions().tool(a)", tool)
        if label is not None:
            self.painter(node, "p.choose(a)", label)
        if size:
            self.painter(node, "p.actions().size(a)", size)

    def ids(self, node: int) -> list[int]:
        return self.painter(node, "[...p.model.ids]")

    def value(self, node: int) -> str:
        return self.painter(node, "app.graph.getNodeById(a).widgets.find((w) => w.name === 'drawing').value", node)

    def queue(self) -> dict[str, Any]:
        """Queue the graph; the prompt that the page sends."""
        with self.page.expect_request(lambda r: r.url.endswith("/prompt") and r.method == "POST") as sent:
            self.js("() => app.queuePrompt(0)")
        return json.loads(sent.value.post_data)["prompt"]


@pytest.fixture(scope="module", params=["classic", "vue"])
def opened(request: pytest.FixtureRequest, chromium: Any, site: str) -> Iterator[Page]:
    """A page in one of the two renderers."""
    context = chromium.new_context(viewport={"width": 1500, "height": 1000}, has_touch=True)
    local = ("http://127.0.0.1", "data:", "blob:")
    context.route("**/*", lambda route: route.continue_() if route.request.url.startswith(local) else route.abort())
    made = Page(context.new_page(), site, request.param == "vue")
    made.open()
    made.js("(on) => app.extensionManager.setting.set('Comfy.VueNodes.Enabled', on)", made.vue)
    made.page.wait_for_timeout(400)
    yield made
    context.close()


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    """The same page for every test, with an empty graph."""
    opened.errors.clear()
    opened.js("() => { app.ui.autoQueueEnabled = false; app.graph.clear(); }")
    yield opened
    assert opened.errors == []


class Film:
    """Screenshots of a test, kept as pictures for the help page and the README where ATELIER_PICTURES names a folder."""

    def __init__(self, folder: str | None) -> None:
        self.folder, self.frames = None if folder is None else Path(folder), []

    def shoot(self, page: Page, times: int = 1) -> None:
        """One frame; several for a longer look."""
        if self.folder is not None:
            frame = Image.open(io.BytesIO(page.page.screenshot(clip=CLIP))).convert("RGB")
            self.frames += [frame] * times

    def save(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.frames[-1].save(self.folder / "painter.png", optimize=True)
        small = [frame.resize((frame.width * 2 // 3, frame.height * 2 // 3)) for frame in self.frames]
        small[0].save(self.folder / "painter.webp", save_all=True, append_images=small[1:], loop=0, quality=60, method=6,
                      duration=FILM_SECONDS * 1000 // len(small))


@pytest.fixture
def film() -> Film:
    return Film(os.environ.get("ATELIER_PICTURES"))
