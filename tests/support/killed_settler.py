"""A settler that is killed at a chosen place, as the machine would do it."""

import asyncio
import signal
import subprocess
import sys

import asyncpg

from support.databases import Database

# Settles, and kills itself at its n-th call of a function of the store: before the call, or after it.
KILLED = """
import asyncio, os, signal, sys
from keno.bets import store
from keno.bets.settler import Settler
from keno.infra.postgres import create_pool

url, chunk_bets, name, nth, when = sys.argv[1:]
calls, function = 0, getattr(store, name)

async def patched(*arguments):
    global calls
    calls += 1
    if when == "before" and calls == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
    returned = await function(*arguments)
    if when == "after" and calls == int(nth):
        os.kill(os.getpid(), signal.SIGKILL)
    return returned

async def main():
    setattr(store, name, patched)
    async with await create_pool(url, connections_max=2) as pool:
        settler = Settler(pool, chunk_bets=int(chunk_bets))
        while await settler.step() == 0:
            pass

asyncio.run(main())
"""


async def settle_until_killed(
    database: Database, owner_pool: asyncpg.Pool, chunk_bets: int, name: str, nth: int, when: str
) -> None:
    """Returns when the settler is dead and what it had begun is undone. `when` is "before" or "after" the n-th call."""
    arguments = (database.app_url, str(chunk_bets), name, str(nth), when)
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, *arguments], check=False)
    assert killed.returncode == -signal.SIGKILL
    await owner_pool.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'keno' AND state = 'idle in transaction'"
    )
