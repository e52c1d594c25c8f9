"""HTTP servers between the publisher and MLflow: slow ones, ones that count, and ones that are something else."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Proxy:
    """Answers requests as another server does, later.

    Args:
        target: the address of the other server.
        seconds: how long each call takes.

    Attributes:
        calls: the method and the path of each call so far.
        lost: a call whose path ends so is answered with `{}` and never reaches the other server; "" for none.
    """

    def __init__(self, target: str, seconds: float = 0.0) -> None:
        self.calls: list[tuple[str, str]] = []
        self.lost = ""
        self._target = target
        self._seconds = seconds

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of the answer."""
        self.calls.append((method, path.partition("?")[0]))
        time.sleep(self._seconds)
        if self.lost and path.endswith(self.lost):
            return 200, b"{}"
        request = urllib.request.Request(f"{self._target}{path}", body or None, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@contextmanager
def listening(answer: Callable[[str, str, bytes], tuple[int, bytes]]) -> Iterator[str]:
    """Serve answers on 127.0.0.1; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = answer(self.command, self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the client is gone
                super().handle()

    for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
