"""A deposit, a bet and a statement with Keno's Python client.

python docs/examples/place_a_bet.py ORIGIN KEY_ID SECRET_HEX ROOM
"""

import asyncio
import sys
import uuid

from keno.client import BetRequest, Client, Refused
from keno.identity.signature import HmacSecret


async def main(origin: str, key_id: str, secret: str, room: str) -> None:
    """Prints the receipt of the bet and what moved the player's money."""
    async with Client(origin, key_id, HmacSecret(bytes.fromhex(secret))) as client:
        await client.deposit("p-17", f"deposit-{uuid.uuid4()}", 5_000, "EUR")
        bet: BetRequest = {
            "transaction_id": f"bet-{uuid.uuid4()}",
            "player": "p-17",
            "room": room,
            "picks": [4, 8, 15],
            "stake_minor": 100,
            "currency": "EUR",
        }
        try:
            placed = await client.place_bet(bet)
        except Refused as refusal:
            print("refused:", refusal.code, refusal.problem.remedy)
            return
        print("bet", placed.bet_id, "leaf", placed.receipt.leaf_hash)
        async for entry in client.statement("p-17"):
            print(entry.kind, entry.change_minor, entry.currency)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
