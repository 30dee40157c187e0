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
    now_ms = time.time_ns() // 10**6
    stands = {bet.room_id: Stand(1, 1, bet.room_id, bytes(32), now_ms) for bet in bets if bet.room_id is not None}
    rows = [PlacedRow(Outcome.ACCEPTED, next(_ids), stands[bet.room_id]) for bet in bets if bet.room_id is not None]
    return service._answers(bets, rows)


if __name__ == "__main__":
    BetService._place_batch = _accept_all  # type: ignore[method-assign, assignment]
    sys.argv[1:] = ["run", "lane"]
    cli.main()
