"""The disk of PostgreSQL fills up while players bet: nothing acknowledged is lost, and work goes on when there is room.

The disk is a small file system, mounted for the test: see `support.disks`.
"""

import asyncio
import random
import signal
from pathlib import Path

import asyncpg
from support.disks import moved_to_small_disk, where_it_may_mount
from support.installation import Told, bet, compare_books, deposit, installed

from keno.demo.players import OperatorClient
from keno.infra.embedded import EmbeddedServers

SPARE_BYTES = 200_000_000
REFUSED_MIN = 20
LOG_FILES_MAX = 100


@where_it_may_mount
async def test_a_disk_that_fills_up_loses_no_acknowledged_bet_and_work_goes_on_once_there_is_room() -> None:
    taste = random.Random(2026)
    with installed() as installation:
        private_key, room = installation.add_operator(), installation.add_room()
        with moved_to_small_disk(installation.data_dir / "postgres", SPARE_BYTES) as disk:
            installation.start("up")
            await installation.ready()
            client = OperatorClient(installation.origin, "first", private_key)
            await deposit(client)

            told, enough = Told(), asyncio.Event()
            betting = asyncio.create_task(bet(client, room, told, taste, enough))
            await asyncio.sleep(2)
            assert told.accepted
            disk.fill()
            await _use_up_the_log(installation.data_dir)
            await _until_refused(told)
            accepted = len(told.accepted)
            await asyncio.sleep(2)

            disk.empty()
            # Whoever watches over a server starts it again; what has not ended is left alone.
            servers = await EmbeddedServers.start(installation.data_dir)
            await installation.ready()
            await asyncio.sleep(2)
            enough.set()
            await betting
            await told.ask_again(client)

            assert len(told.accepted) > accepted
            # The last words of a server may find no room themselves; what it says when it comes back does.
            assert "not properly shut down" in (disk.folder / "server.log").read_text(), "its log found no room"
            await compare_books(client, told)
            await client.close()
            assert installation.end("up", signal.SIGTERM) == 0, installation.log_tail()
            await servers.stop()
            audit = installation.keno("audit")
            assert audit.returncode == 0, audit.stdout


async def _use_up_the_log(data_dir: Path) -> None:
    """Asks PostgreSQL for new files of its log until it has no room for one, and stops in the middle of its work."""
    servers = await EmbeddedServers.start(data_dir)
    owner = await asyncpg.connect(servers.database_url)
    try:
        for _ in range(LOG_FILES_MAX):
            await owner.execute("SELECT pg_logical_emit_message(false, 'filler', 'x')")
            await owner.execute("SELECT pg_switch_wal()")
        raise AssertionError("the log always found room")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        pass
    finally:
        owner.terminate()
        await servers.stop()


async def _until_refused(told: Told) -> None:
    async with asyncio.timeout(60):
        while told.others["unavailable"] + len(told.unanswered) < REFUSED_MIN:  # noqa: ASYNC110 - players tell nobody
            await asyncio.sleep(0.1)
