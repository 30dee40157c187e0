"""`python -m benchmarks.stubbed_gateway`: `keno run lane` with a database that accepts every bet at once.

For the cost of everything but the database: what is replaced is one method of BetService, from the connection to the
rows that `place_bets` returns; the peer has the same knob. Its bets are stored nowhere.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Sequence

from keno import cli
from keno.bets.outcome import Outcome
from keno.bets.service import BetService, Placed
from keno.bets.store import BetRow, PlacedRow, Stand

_ids = itertools.count(1)


async def _accept_all(service: BetService, bets: Sequence[BetRow]) -> list[Placed]:
    await asyncio.sleep(0)
    room_id = bets[0].room_id
    assert room_id is not None, "the benchmark names one room"
    stand = Stand(1, 1, room_id, bytes(32), time.time_ns() // 10**6)
    return service._answers(bets, [PlacedRow(Outcome.ACCEPTED, next(_ids), stand) for _ in bets])


if __name__ == "__main__":
    BetService._place_batch = _accept_all  # type: ignore[method-assign, assignment]
    sys.argv[1:] = ["run", "lane"]
    cli.main()
