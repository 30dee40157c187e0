"""Why an address cannot be listened on, said in the same way by every server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from keno.errors import ConfigError


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Around what begins to listen: raises ConfigError for OSError."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
