"""The origins under which the service is reached, and with them the target URI that a client signed.

The scheme is never taken from the request: behind a proxy that ends TLS it would be wrong, and a header could lie. The
Host header chooses among the configured origins; their scheme and spelling are what clients sign.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from gateway.problems import ProblemError
from keno.errors import ConfigError

_ORIGIN: Final = re.compile(r"(https?)://([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?")
_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}


class Origins:
    """Configured origins such as `https://keno.example`: lower case, no default port, no path, no trailing slash.

    Raises ConfigError for any other spelling, and for one authority under two schemes, which nothing could tell apart.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._origins: dict[str, str] = {}
        for origin in origins:
            match = _ORIGIN.fullmatch(origin)
            if match is None or match[3] == _DEFAULT_PORTS[match[1]]:
                raise ConfigError(f"public origin {origin!r} is not scheme://host[:port], lower case, no default port")
            authority = origin.partition("://")[2]
            spellings = {authority} if match[3] else {authority, f"{authority}:{_DEFAULT_PORTS[match[1]]}"}
            if spellings & self._origins.keys():
                raise ConfigError(f"public origin {authority} is configured twice")
            self._origins |= dict.fromkeys(spellings, origin)
        if not self._origins:
            raise ConfigError("at least one public origin is needed")

    def target_uri(self, hosts: Sequence[str], target: str) -> str:
        """The absolute URI of a request: `target` is its path and query as received (latin-1 where not ASCII).

        `hosts` are the values of the Host header. Raises ProblemError `unknown_origin`.
        """
        origin = self._origins.get(hosts[0].lower()) if len(hosts) == 1 else None
        if origin is None:
            raise ProblemError("unknown_origin", "the Host header names no host of this service")
        return origin + target
