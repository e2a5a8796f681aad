"""Stands in for ComfyUI's HTTP side: the real frontend's files, our nodes, and a queue that the headless executor works off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import comfyui_frontend_package
import torch
from aiohttp import WSMsgType, web
from latent_atelier.headless.executor import Executor, NodeFailedError
from latent_atelier.headless.node_types import all_classes, object_info
from latent_atelier.headless.problems import InvalidWorkflowError
from latent_atelier.headless.validation import validate
from latent_atelier.headless.workflow import workflow_from_json
from latent_atelier.runtime.context import ExecutionContext, Folders

ROOT = Path(__file__).parents[2]
STATIC = Path(comfyui_frontend_package.__file__).parent / "static"
EMPTY: dict[str, Any] = {"embeddings": [], "i18n": {}, "workflow_templates": {}, "experiment/models": [], "models": [],
                         "global_subgraphs": {}, "features": {}, "history": {}, "customnode/getlist": {}, "userdata": [],
                         "v2/userdata": [], "node_replacements": {},
                         "jobs": {"jobs": [], "pagination": {"offset": 0, "limit": 64, "total": 0, "has_more": False}}}


class PageServer:
    """url: of the page. prompts: what was queued, in order. error: of the last run that failed."""

    def __init__(self, place: Path, settings: dict[str, Any]) -> None:
        self.url, self.prompts, self.error, self.settings = "", [], "", {"Comfy.TutorialCompleted": True, **settings}
        self.userdata: dict[str, bytes] = {}
        folders = Folders(input=[ROOT / "demo" / "images"], output=place / "output", temp=place / "temp")
        self.context = ExecutionContext(folders=folders, device=torch.device("cpu"))
        self.executor, self.classes = Executor(self.context), all_classes()
        self.sockets: list[web.WebSocketResponse] = []
        self.running = 0

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**26)
        for prefix in ("", "/api"):
            app.router.add_get(f"{prefix}/ws", self.socket)
            app.router.add_get(f"{prefix}/view", self.view)
            app.router.add_post(f"{prefix}/prompt", self.prompt)
            app.router.add_route("*", f"{prefix}/settings{{rest:.*}}", self.setting)
            app.router.add_route("*", f"{prefix}/userdata/{{name:.+}}", self.stored)
            app.router.add_get(f"{prefix}/extensions", self.extensions)
            app.router.add_static(f"{prefix}/extensions/latent-atelier", ROOT / "web")
        app.router.add_route("*", "/api/{path:.*}", self.plain)
        app.router.add_get("/", self.index)
        app.router.add_static("/", STATIC)
        return app

    async def index(self, _: web.Request) -> web.FileResponse:
        return web.FileResponse(STATIC / "index.html")

    async def plain(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        if path == "object_info":
            with self.context.activate():
                return web.json_response(object_info(self.classes))
        known = {"users": {"storage": "server", "migrated": True}, "queue": {"queue_running": [], "queue_pending": []},
                 "prompt": {"exec_info": {"queue_remaining": self.running}},
                 "system_stats": {"system": {"os": "posix", "python_version": "3", "embedded_python": False,
                                             "comfyui_version": "0.33.0", "pytorch_version": "2", "argv": []}, "devices": []},
                 **EMPTY}
        return web.json_response(known[path]) if path in known else web.json_response({}, status=404)

    async def extensions(self, _: web.Request) -> web.Response:
        found = sorted(path.relative_to(ROOT / "web").as_posix() for path in (ROOT / "web").rglob("*.js"))
        return web.json_response([f"/extensions/latent-atelier/{name}" for name in found])

    async def setting(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            name, value = request.match_info["rest"].strip("/"), await request.json()
            self.settings |= {name: value} if name else value
            return web.Response()
        return web.json_response(self.settings)

    async def stored(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if request.method == "POST":
            self.userdata[name] = await request.read()
            return web.json_response({"path": name, "size": len(self.userdata[name]), "modified": 0})
        return web.Response(body=self.userdata[name]) if name in self.userdata else web.Response(status=404)

    async def view(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        folder = self.context.folders.of_type(query.get("type", "output"))
        path = (folder / query.get("subfolder", "") / query["filename"]).resolve()
        return web.FileResponse(path) if path.is_relative_to(folder.resolve()) else web.Response(status=404)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        await self.tell("status", {"status": {"exec_info": {"queue_remaining": 0}}, "sid": uuid4().hex})
        async for message in socket:
            if message.type == WSMsgType.ERROR:
                break
        self.sockets.remove(socket)
        return socket

    async def tell(self, kind: str, data: dict[str, Any]) -> None:
        for socket in list(self.sockets):
            await socket.send_json({"type": kind, "data": data})

    async def prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.prompts.append(body)
        identity = uuid4().hex
        self.running += 1
        asyncio.get_running_loop().create_task(self.work_off(identity, body["prompt"]))
        return web.json_response({"prompt_id": identity, "number": len(self.prompts), "node_errors": {}})

    async def work_off(self, identity: str, prompt: dict[str, Any]) -> None:
        await self.tell("status", {"status": {"exec_info": {"queue_remaining": 1}}})
        await self.tell("execution_start", {"prompt_id": identity, "timestamp": 0})
        try:
            shown = await asyncio.to_thread(self.run, prompt)
        except (NodeFailedError, InvalidWorkflowError) as error:
            self.error = str(error)
            shown = {}
        finally:
            self.running -= 1
        for node, output in shown.items():
            await self.tell("executed", {"node": node, "display_node": node, "output": dict(output), "prompt_id": identity})
        await self.tell("execution_success", {"prompt_id": identity, "timestamp": 0})
        await self.tell("status", {"status": {"exec_info": {"queue_remaining": 0}}})

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        with self.context.activate():
            graph = validate(workflow_from_json(prompt, "page", dict), self.classes)
        return self.executor.run(graph)


@contextmanager
def page_server(place: Path, **settings: Any) -> Iterator[PageServer]:
    """The server on a free port, in a thread of its own."""
    server, ready, ended = PageServer(place, settings), threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        runner = web.AppRunner(server.application(), shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await ended.wait()
        for socket in list(server.sockets):
            await socket.close()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    if not ready.wait(30):
        raise RuntimeError("the page server did not start")
    try:
        yield server
    finally:
        loops[0].call_soon_threadsafe(ended.set)
        thread.join(10)
