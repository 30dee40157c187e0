"""A WebSocket without its socket: messages that have not come to their end, and frames whose client has gone."""

from __future__ import annotations

import asyncio
import gc
import time
from unittest.mock import Mock

from gateway.live.connection import Connection
from keno.texts.languages import ENGLISH


async def test_a_piece_of_a_message_costs_the_same_however_many_came_before_it() -> None:
    connection = Connection(Mock(), "192.0.2.1", ENGLISH)
    began_s = time.process_time()
    for _ in range(20_000):
        connection._gather(b"", complete=False)
    assert time.process_time() - began_s < 1


async def test_frames_that_wait_when_the_client_goes_are_given_up_without_a_warning() -> None:
    connection = Connection(Mock(), "192.0.2.1", ENGLISH)
    for _ in range(3):
        connection._take(b'{"type":"spectate"}')
    connection.on_ws_disconnected(Mock())
    await asyncio.sleep(0)
    gc.collect()
