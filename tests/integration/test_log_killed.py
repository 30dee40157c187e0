"""A worker of the log that is killed at any of its places leaves no hole and no fork, and the next one goes on."""

import asyncio
import signal
import subprocess
import sys

from support.databases import Database
from support.rounds import Hall
from support.transparency import Note, mth

from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.witnesses import Witnesses

PLATFORM_KEY = bytes(range(64, 96))
KILLED = """
import asyncio, sys
from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.witnesses import Witnesses
from keno.infra import failpoints
from keno.infra.postgres import create_pool

async def main(url, failpoint):
    failpoints.arm(failpoint)
    async with await create_pool(url, connections_max=2) as pool:
        worker = Sequencer(pool, LogKeys(pool, bytes(range(64, 96)), "keno.test/log"), Witnesses(()), 2)
        while True:
            await worker.step()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_worker_killed_again_and_again_leaves_one_whole_log(hall: Hall, database: Database) -> None:
    room = await hall.add_room()
    for number, failpoint in enumerate(["log.appended", "log.signed", "log.published"] * 2, 1):
        await hall.play(room, [number])
        command = [sys.executable, "-c", KILLED, database.app_url, failpoint]
        killed = await asyncio.to_thread(subprocess.run, command, check=False)
        assert killed.returncode == -signal.SIGKILL
    worker = Sequencer(hall.app_pool, LogKeys(hall.app_pool, PLATFORM_KEY, "keno.test/log"), Witnesses(()))
    await worker.step()
    rows = await hall.owner_pool.fetch("SELECT * FROM log_entries ORDER BY index")
    assert [row["index"] for row in rows] == list(range(len(rows)))
    assert sorted(row["number"] for row in rows if row["kind"] == 2) == list(range(1, 7))
    assert sorted(row["number"] for row in rows if row["kind"] == 3) == list(range(1, 7))
    entries = [bytes(row["entry"]) for row in rows]
    published = await hall.owner_pool.fetch("SELECT size, note FROM log_checkpoints ORDER BY size")
    assert published[-1]["size"] == len(entries)
    for size, note in published:
        assert Note.read(note.encode()).head() == ("keno.test/log", size, mth(entries[:size]))
