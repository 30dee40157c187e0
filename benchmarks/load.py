"""`python -m benchmarks.load SCENARIO`: an installation of our own under locust, without its pages, with its summary.

Scenarios: `single` and `batch` (operators' servers), `players` (on the live stream), `mixed` (all three). The services
are processes of their own on the servers that the benchmarks use, in a database of their own. Exits with 1 where
requests failed or the audit finds something.
"""

import argparse
import asyncio
import os
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks import servers
from benchmarks.floor import floor
from benchmarks.processes import free_port, python, running

SCENARIOS = {
    "single": ["OperatorSingle"],
    "batch": ["OperatorBatch"],
    "players": ["Player"],
    "mixed": ["OperatorSingle", "OperatorBatch", "Player"],
}


async def _run(scenario: str, users: int, seconds: int) -> int:
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(servers.found_or_started())
        made = await stack.enter_async_context(floor(found, rooms=1, players=1))
        port, lane_port, live_port = free_port(), free_port(), free_port()
        gateway, lane, live = (f"http://127.0.0.1:{each}" for each in (port, lane_port, live_port))
        environment = made.environment | {
            "KENO_PUBLIC_ORIGINS": f"{gateway},{lane}",
            "KENO_PORT": str(port),
            "KENO_LANE_PORT": str(lane_port),
            "KENO_LIVE_PORT": str(live_port),
            "KENO_LIVE_ADDRESS_CONNECTIONS_MAX": "100000",
        }
        without_lane = {name: value for name, value in environment.items() if name != "KENO_LANE_PORT"}
        await stack.enter_async_context(running(python("keno", "run", "lane"), lane_port, environment))
        await stack.enter_async_context(running(python("keno", "up"), port, without_lane))
        await made.rooms_sell()
        load = {
            "KENO_LOAD_KEY_ID": made.key_id,
            "KENO_LOAD_SECRET": made.secret.secret.hex(),
            "KENO_LOAD_ROOM": str(made.rooms[0]),
            "KENO_LOAD_GATEWAY": gateway,
            "KENO_LOAD_LANE": lane,
            "KENO_LOAD_LIVE": live,
        }
        arguments = ["--headless", "--users", str(users), "--spawn-rate", str(max(users // 5, 1))]
        arguments += ["--run-time", f"{seconds}s", "--only-summary", *SCENARIOS[scenario]]
        locustfile = Path(__file__).with_name("locustfile.py")
        status = await _call(["locust", "-f", str(locustfile), *arguments], load)
        await made.drained()
        return status or await _call(["keno", "audit", "--full"], environment)


async def _call(arguments: list[str], environment: dict[str, str]) -> int:
    process = await asyncio.create_subprocess_exec(*python(*arguments), env=os.environ | environment)
    return await process.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An installation of our own under locust.")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=30)
    given = parser.parse_args()
    sys.exit(asyncio.run(_run(given.scenario, given.users, given.seconds)))
