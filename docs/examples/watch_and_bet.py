"""A player launched, the live stream of a room followed, and a bet over it with its result.

python docs/examples/watch_and_bet.py ORIGIN KEY_ID SECRET_HEX ROOM [LIVE_URL]

Without a proxy, as with `keno up` alone, LIVE_URL is ws://127.0.0.1:8081/v1/live.
"""

import asyncio
import sys
import uuid

from keno.client import Client, PlayerBetRequest
from keno.identity.signature import HmacSecret
from keno.notify.frames import BetSettled, RoundDrawn, RoundOpened


async def main(origin: str, key_id: str, secret: str, room: str, live_url: str | None = None) -> None:
    """Prints frames until the bet is settled."""
    async with Client(origin, key_id, HmacSecret(bytes.fromhex(secret)), live_url=live_url) as operator:
        await operator.deposit("p-17", f"deposit-{uuid.uuid4()}", 5_000, "EUR")
        launched = await operator.launch("p-17", "EUR", room=room)
        bet_id = None
        async with operator.live(f"room:{room}", "player", ticket=launched.ticket) as stream:
            async for frame in stream:
                match frame:
                    case RoundOpened() if bet_id is None:
                        bet_id = (await stream.place_bet(bet_on(frame.round.id))).bet_id
                        print("bet", bet_id, "on round", frame.round.number)
                    case RoundDrawn():
                        print("round", frame.round.number, "drew", *frame.numbers)
                    case BetSettled() if frame.bet_id == bet_id:
                        print("settled:", frame.hits, "hits,", frame.payout_minor, frame.currency)
                        return


def bet_on(round_id: str) -> PlayerBetRequest:
    """One euro on three numbers."""
    return {"transaction_id": str(uuid.uuid4()), "round": round_id, "picks": [4, 8, 15], "stake_minor": 100}


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
