"""`python -m benchmarks.gateway`: the front door beside its peers, in one table: signed bets and batches over HTTP
beside FastAPI, and the fan-out of the live stream beside a node `ws` server.

Exits with 1 where books do not balance or a frame did not arrive, never because a target was missed.
"""

import asyncio
import sys

from benchmarks import bets_http, live, report, servers

RUNS = 3
HTTP_RUNS, HTTP_RUN_S = 5, 2.0


async def _main() -> int:
    async with servers.found_or_started() as found:
        rows, objections = await bets_http.rows(found, HTTP_RUNS, HTTP_RUN_S)
        rows += await live.rows(found.redis_url, live.CONNECTIONS, live.FRAMES, RUNS, live.STALLED)
    packages = ("asyncpg", "granian", "fastapi", "uvicorn", "sqlalchemy", "http-message-signatures", "picows", "redis")
    report.publish("gateway", f"{bets_http.METHOD} {live.METHOD}", rows, packages, {"node": live.node_version()})
    for objection in objections:
        print(objection, file=sys.stderr)
    return 1 if objections else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
