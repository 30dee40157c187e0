"""Ports of loopback for servers of tests: no two processes of any run get the same, and no outgoing connection can.

Asking the system for any free port gives one of the ephemeral range, which the next connection to anything may take
before the server of the test listens on it. These lie below that range. A process owns a block of them for as long as
it lives: it holds the first port of the block, and whoever finds that taken tries another block.
"""

import atexit
import socket
from pathlib import Path

_HOST = "127.0.0.1"
_LOWEST = 20_000
_BLOCK = 64
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUAL_EPHEMERAL_LOWEST = 32_768

_unused: list[int] = []


def free_port() -> int:
    """A port that nobody listens on."""
    return free_ports(1)[0]


def free_ports(number: int) -> list[int]:
    """Consecutive ports that nobody listens on, each given out once; at most _BLOCK - 1 of them.

    Raises RuntimeError where no block is left.
    """
    if not 0 < number < _BLOCK:
        raise ValueError(f"a block has {_BLOCK - 1} ports: {number}")
    while True:
        if len(_unused) < number:
            _unused[:] = _new_block()
        ports, _unused[:number] = _unused[:number], []
        if all(_is_free(port) for port in ports):
            return ports


def _new_block() -> range:
    """The ports behind the first guard that nobody holds; it is held until this process ends."""
    for first in range(_LOWEST, _ephemeral_lowest() - _BLOCK + 1, _BLOCK):
        guard = socket.socket()
        try:
            guard.bind((_HOST, first))
        except OSError:
            guard.close()
            continue
        atexit.register(guard.close)
        return range(first + 1, first + _BLOCK)
    raise RuntimeError(f"no block of {_BLOCK} ports from {_LOWEST} on is free")


def _ephemeral_lowest() -> int:
    if not _EPHEMERAL_RANGE.exists():
        return _USUAL_EPHEMERAL_LOWEST
    lowest = int(_EPHEMERAL_RANGE.read_text(encoding="ascii").split()[0])
    # A range widened down to where these ports lie leaves none that are safe; those it has are as good as any.
    return lowest if lowest >= _LOWEST + _BLOCK else _USUAL_EPHEMERAL_LOWEST


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((_HOST, port))
        except OSError:
            return False
    return True
