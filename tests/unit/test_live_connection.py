"""A WebSocket without its socket: messages that have not come to their end, and frames whose client has gone."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from unittest.mock import Mock

from gateway.live.connection import Connection
from keno.texts.languages import ENGLISH


async def test_empty_pieces_of_a_message_take_no_memory_however_many_they_are() -> None:
    connection = Connection(Mock(), "192.0.2.1", ENGLISH)
    tracemalloc.start()
    try:
        for _ in range(5_000):
            connection._gather(b"", complete=False)
        held_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held_bytes < 10_000


async def test_frames_that_wait_when_the_client_goes_are_given_up_without_a_warning() -> None:
    connection = Connection(Mock(), "192.0.2.1", ENGLISH)
    for _ in range(3):
        connection._take(b'{"type":"spectate"}')
    connection.on_ws_disconnected(Mock())
    await asyncio.sleep(0)
    gc.collect()
