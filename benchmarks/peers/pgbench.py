"""The peer of acceptance: PostgreSQL's own pgbench calls `bet_function.sql`, a bet a transaction."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

from benchmarks import servers
from benchmarks.servers import Database, Measured, ServerCpu, Servers

CLIENTS = (1, 2, 4, 8, 16)
_SCHEMA = Path(__file__).with_name("bet_function.sql")
_OPEN_MS = 86_400_000
_DEPOSIT_MINOR = 10**12
_PICKS = r"\x00000000000000000155"
_FINGERPRINT = r"\x000102030405060708090a0b0c0d0e0f"

# Ids that grow are those of the client's count; 19 characters where ours have 36.
_ORDERED = r"\set transaction :base + :n * 64 + :client_id"
_RANDOM = r"\set transaction random(1000000000000000000, 9000000000000000000)"
_SCRIPT = r"""\set n :n + 1
{transaction}
\set player random(1, {players})
\set stake 100 * random(1, 100)
SELECT * FROM place_bet('{operator}', :transaction, :fingerprint, '{room}', :player, :picks, :stake, 'EUR', NULL);
"""


class Pgbench:
    """The peer's database and its players, who never run out of money."""

    def __init__(self, database: Database, players: int, program: str, operator: UUID, room: UUID) -> None:
        self.database = database
        self._players = players
        self._program = program
        self.operator = operator
        self.room = room
        self._runs = 0
        self.placed = 0

    async def run(self, clients: int, seconds: float, *, random_ids: bool = False) -> Measured:
        """Bets for so many seconds, each client as fast as its bets return. SystemExit where pgbench fails."""
        self._runs += 1
        script = _SCRIPT.format(
            transaction=_RANDOM if random_ids else _ORDERED,
            players=self._players,
            operator=self.operator,
            room=self.room,
        )
        with tempfile.NamedTemporaryFile("w", suffix=".pgbench") as file:
            file.write(script)
            file.flush()
            async with ServerCpu(self.database.owner) as cpu:
                process = await asyncio.create_subprocess_exec(
                    self._program,
                    "--no-vacuum",
                    "--protocol=prepared",
                    f"--client={clients}",
                    f"--jobs={min(clients, 2)}",
                    f"--time={max(round(seconds), 1)}",
                    "--define=n=0",
                    f"--define=base={(10**6 + self._runs) * 10**12}",
                    f"--define=picks={_PICKS}",
                    f"--define=fingerprint={_FINGERPRINT}",
                    f"--file={file.name}",
                    self.database.owner_url,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                )
                output = (await process.communicate())[0].decode(errors="replace")
        count = re.search(r"transactions actually processed: (\d+)", output)
        rate = re.search(r"tps = ([\d.]+) \(without initial", output)
        if process.returncode != 0 or count is None or rate is None:
            raise SystemExit(f"pgbench failed:\n{output}")
        bets = int(count[1])
        self.placed += bets
        return Measured(bets, bets / float(rate[1]), cpu.seconds)

    async def objections(self) -> list[str]:
        """What is wrong in the peer's books."""
        owner = self.database.owner
        stored, staked = await owner.fetchrow("SELECT count(*), coalesce(sum(stake_minor), 0)::bigint FROM bets")
        balances = await owner.fetchval("SELECT sum(balance_minor)::bigint FROM accounts")
        found = []
        if stored != self.placed:
            found.append(f"pgbench: {stored} bets are stored, {self.placed} were placed")
        if balances + staked != self._players * _DEPOSIT_MINOR:
            found.append("pgbench: balances and stakes are not the deposits")
        return found


def program() -> str:
    """The path of pgbench; SystemExit where there is none."""
    found = shutil.which("pgbench") or next(
        map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), reverse=True)), None
    )
    if found is None:
        raise SystemExit("the benchmark needs pgbench, which comes with PostgreSQL's server: none in PATH")
    return found


@asynccontextmanager
async def peer(found: Servers, players: int) -> AsyncIterator[Pgbench]:
    """The peer on a database of its own, with so many players in one room whose round stays open."""
    async with servers.database(found) as database:
        operator, room = uuid4(), uuid4()
        owner = database.owner
        await owner.execute(_SCHEMA.read_text())
        await owner.execute("INSERT INTO rooms VALUES ($1, NULL, 'open')", room)
        await owner.execute(
            """
            INSERT INTO rounds
            VALUES (1, $1, 1, 'open', now_ms() + $2::bigint, 100, 10000, 100, 'EUR', sha256('paytable'))
            """,
            room,
            _OPEN_MS,
        )
        await owner.execute(
            """
            INSERT INTO accounts (operator_id, player, currency, account_hash, balance_minor)
            SELECT $1, n::text, 'EUR', sha256(convert_to(n::text, 'UTF8')), $3 FROM generate_series(1, $2::bigint) AS n
            """,
            operator,
            players,
            _DEPOSIT_MINOR,
        )
        await owner.execute("VACUUM ANALYZE")
        yield Pgbench(database, players, program(), operator, room)
