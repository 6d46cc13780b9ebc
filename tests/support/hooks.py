"""A server of this machine's loopback that takes webhooks."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def served(status: int = 204, context: ssl.SSLContext | None = None) -> Iterator[tuple[int, list]]:
    """Answers each POST with the status; what came is in the list as (path, headers, body)."""
    came: list = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            came.append((self.path, dict(self.headers), json.loads(body)))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.handle_error = lambda *_: None
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port, came
        finally:
            server.shutdown()
            thread.join()
