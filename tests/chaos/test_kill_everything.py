"""SIGKILL to the whole platform while players bet: what clients were told stays true."""

import asyncio
import random
import signal

from support.installation import Told, bet, compare_books, deposit, installed

from keno.demo.players import OperatorClient

KILLS = 2


async def test_what_clients_were_told_stays_true_when_everything_is_killed() -> None:
    taste = random.Random(2026)
    with installed() as installation:
        private_key, room = installation.add_operator(), installation.add_room()
        installation.start("up")
        await installation.ready()
        client = OperatorClient(installation.origin, "first", private_key)
        await deposit(client)

        told = Told()
        for _ in range(KILLS):
            enough = asyncio.Event()
            betting = asyncio.create_task(bet(client, room, told, taste, enough))
            await asyncio.sleep(taste.uniform(2, 4))
            assert not betting.done()
            installation.end("up", signal.SIGKILL)
            enough.set()
            await betting
            installation.start("up")
            await installation.ready()
            await told.ask_again(client)

        assert len(told.accepted) > 50
        assert set(told.others) <= {"round_not_open", "unavailable"}, told.others
        await compare_books(client, told)
        await client.close()
        assert installation.end("up", signal.SIGTERM) == 0
        audit = installation.keno("audit", "--full")
        assert audit.returncode == 0, audit.stdout
