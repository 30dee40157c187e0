"""Whether the workers of this process live and do their part, and what they measure, over HTTP for Kubernetes and
Prometheus: /healthz, /readyz, /metrics.

Answered by threads of its own, so that a process whose loop hangs is seen to be unready rather than slow. Not here: the
gateway, which answers for itself.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from prometheus_client import make_wsgi_app

from keno.config import Config
from keno.infra.threaded_http import serving_application
from workers import runner

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_checks: dict[str, Callable[[], bool]] = {}


@contextmanager
def check(name: str, ready: Callable[[], bool]) -> Iterator[None]:
    """Makes the process's readiness depend on `ready` for as long as the block lasts. It is called from a thread."""
    _checks[name] = ready
    try:
        yield
    finally:
        del _checks[name]


def unready() -> list[str]:
    """What keeps this process from doing its part: names of workers whose last step failed, or whose check does."""
    return sorted(runner.failing | {name for name, ready in list(_checks.items()) if not ready()})


def serving(host: str, port: int) -> AbstractContextManager[int]:
    """Serves while the block lasts, and gives the port (0 chooses one). Raises ConfigError where it is taken."""
    return serving_application(_answer, "health", host, port)


def serving_if_asked(config: Config) -> AbstractContextManager[int | None]:
    """Serves where the configuration has a port for it."""
    return nullcontext() if config.health_port is None else serving(config.host, config.health_port)


_metrics: "WSGIApplication" = make_wsgi_app()


def _answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    match environ["PATH_INFO"]:
        case "/metrics":
            return _metrics(environ, start_response)
        case "/healthz":
            status, text = "200 OK", "lives"
        case "/readyz":
            waiting = unready()
            status, text = ("503 Service Unavailable", ", ".join(waiting)) if waiting else ("200 OK", "ready")
        case _:
            status, text = "404 Not Found", "here are /healthz, /readyz and /metrics"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{text}\n".encode()]
