"""The live stream alone, for a benchmark: the real hub, connections and Redis on the loop of `keno run live`; rooms,
players and texts, which no broadcast asks for, are stubbed. `python -m benchmarks.live_server REDIS_URL PORT`.
"""

import asyncio
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import uvloop

from gateway.live.server import serve_live
from keno.infra.redis import create_redis
from keno.notify.streams import Streams
from keno.risk.service import Limits
from keno.texts.languages import ENGLISH, Language

HOST = "127.0.0.1"


class _Rooms:
    async def room(self, room_id: object) -> Any:
        return SimpleNamespace(operator_id=None)

    async def rounds(self, room_id: object, limit: int) -> list[Any]:
        return []


class _Sessions:
    async def listen_for_ends(self) -> Any:
        while True:
            await asyncio.sleep(1)
            yield None

    async def ended_of(self, sessions: object) -> set[str]:
        return set()


class _Texts:
    def follow(self) -> None:
        pass

    def for_header(self, values: Sequence[str]) -> Language:
        return ENGLISH


async def _serve(redis_url: str, port: int) -> None:
    config = SimpleNamespace(
        public_origins=(), player_origins=(), host=HOST, live_port=port, proxies_count=0,
        live_connections_max=100_000, live_address_connections_max=100_000,
    )  # fmt: skip
    redis = create_redis(redis_url)
    platform: Any = SimpleNamespace(
        config=config,
        streams=Streams(redis),
        rooms=_Rooms(),
        player_news=None,
        sessions=_Sessions(),
        bets=None,
        limits=Limits(redis),
        texts=_Texts(),
    )
    await serve_live(platform, asyncio.Event())


if __name__ == "__main__":
    uvloop.run(_serve(sys.argv[1], int(sys.argv[2])))
