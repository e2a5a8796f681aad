"""An HTTPS server that misbehaves in the ways servers do. Every path is one way."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = bytes(i * 7919 >> 3 & 255 for i in range(200_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Log:
    """The requests that came: path and Range."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str | None]] = []
        self.lock = threading.Lock()
        self.url = ""

    def count(self, path: str) -> int:
        return sum(p == path for p, _ in self.requests)


def _handler(log: Log, stall: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def head(self, status: int, **headers: object) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True

        def send(self, body: bytes = CONTENT, *, until: int | None = None, etag: str = '"one"', ranges: bool = True) -> None:
            """The body, or the rest of it that was asked for, cut off at `until`."""
            asked, same = self.headers.get("Range"), self.headers.get("If-Range") == etag
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and same and ranges else 0
            if start:
                self.head(206, Content_Length=len(body) - start, ETag=etag,
                          Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.head(200, Content_Length=len(body), **({"ETag": etag} if ranges else {}))
            self.wfile.write(body[start:len(body) if until is None else until])

        def do_GET(self) -> None:
            with log.lock:
                log.requests.append((self.path, self.headers.get("Range")))
                times = log.count(self.path)
            half = len(CONTENT) // 2
            with contextlib.suppress(OSError):
                match self.path.strip("/"):
                    case "good":
                        self.send()
                    case "slow":
                        self.head(200, Content_Length=len(CONTENT), ETag='"one"')
                        for i in range(0, len(CONTENT), 4000):
                            self.wfile.write(CONTENT[i:i + 4000])
                            time.sleep(0.02)
                    case "dies-once":  # slow at first, so that the client can be killed; then whole
                        if times == 1:
                            self.head(200, Content_Length=len(CONTENT), ETag='"one"')
                            self.wfile.write(CONTENT[:half])
                            time.sleep(60)
                        else:
                            self.send()
                    case "truncates-once":
                        self.send(until=half if times == 1 else None)
                    case "truncates":
                        self.send(until=half, ranges=False)
                    case "truncates-without-range":
                        self.send(until=half if times == 1 else None, ranges=False)
                    case "corrupts":
                        self.send(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
                    case "changes":
                        self.send(bytes(half) + CONTENT[half:] if times == 1 else CONTENT, until=half if times == 1 else None,
                                  etag='"one"' if times == 1 else '"two"')
                    case "stalls-once":
                        self.send(until=half if times == 1 else None)
                        if times == 1:
                            self.wfile.flush()
                            time.sleep(stall)
                    case "stalls":
                        self.head(200, Content_Length=len(CONTENT))
                        time.sleep(stall)
                    case "page":
                        body = b"<html>Too many people have viewed or downloaded this file recently.</html>"
                        self.head(200, Content_Length=len(body), Content_Type="text/html; charset=utf-8")
                        self.wfile.write(body)
                    case "longer":
                        self.send(CONTENT + b"more")
                    case "no-length":
                        self.head(200, ETag='"one"')
                        self.wfile.write(CONTENT[:half] if times == 1 else CONTENT)
                    case "wrong-range":
                        if self.headers.get("Range"):
                            self.head(206, Content_Length=10, Content_Range=f"bytes 0-9/{len(CONTENT)}", ETag='"one"')
                            self.wfile.write(CONTENT[:10])
                        else:
                            self.send(until=half)
                    case "open":
                        self.head(302, Location=f"http://localhost:{self.server.server_port}/good", Content_Length=0)
                    case "forwards":
                        self.head(302, Location="/good", Content_Length=0)
                    case "forwards-forever":
                        self.head(302, Location="/forwards-forever", Content_Length=0)
                    case "busy":
                        if times < 3:
                            self.head(503, Content_Length=0)
                        else:
                            self.send()
                    case "packed":
                        self.head(200, Content_Length=3, Content_Encoding="gzip")
                        self.wfile.write(b"abc")
                    case _:
                        self.head(404, Content_Length=0)

    return Handler


@contextlib.contextmanager
def misbehaving_server(context: ssl.SSLContext, *, stall: float = 2.0) -> Iterator[Log]:
    """The server on a free port; `url` of what it yields is its address."""
    log = Log()
    server = ThreadingHTTPServer(("localhost", 0), _handler(log, stall))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True)
    log.url = f"https://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield log
    finally:
        server.shutdown()
        server.server_close()
