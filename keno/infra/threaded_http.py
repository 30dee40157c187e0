"""Small HTTP servers that answer from threads of their own, with the standard library: what a few callers ask every few
seconds, and what must answer while the event loop hangs. Not here: the gateway, which serves the world with granian.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import HTTPServer
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from keno.infra.listening import listening

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

_TIMEOUT_S = 5


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = _TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: it is asked every few seconds."""


@contextmanager
def serving_application(application: "WSGIApplication", name: str, host: str, port: int) -> Iterator[int]:
    """Serves a WSGI application while the block lasts: see `serving`. Raises ConfigError where it cannot listen."""
    with listening(host, port):
        server = make_server(host, port, application, server_class=_Server, handler_class=_QuietHandler)
    with serving(server, name) as served_port:
        yield served_port


@contextmanager
def serving(server: HTTPServer, name: str) -> Iterator[int]:
    """Serves in a thread of that name while the block lasts, and gives the port, which was chosen where 0 was asked."""
    thread = threading.Thread(target=server.serve_forever, name=name, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
