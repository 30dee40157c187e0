"""The events that are written against the AsyncAPI document's forms of them."""

from __future__ import annotations

import msgspec
from support.gateway import Gateway

from keno.notify.asyncapi_events import EVENTS


async def test_events_of_a_round_have_the_forms_of_the_document(gateway: Gateway) -> None:
    casino, room = await gateway.casino(), await gateway.room(period_ms=2_000, lock_lead_ms=500)
    deposit = {"transaction_id": "d-1", "amount_minor": 1_000, "currency": "EUR"}
    assert (await casino.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    bet = {"player": "p-1", "room": str(room.id), "picks": [1], "stake_minor": 100, "currency": "EUR"}
    placed = (await casino.post("/v1/bets", bet | {"transaction_id": "t-1"})).json()
    await gateway.play_until(int(placed["round"]["id"]), "settled")
    written = await gateway.owner_pool.fetch("SELECT routing_key, payload::text FROM outbox")
    assert {"round.opened", "round.locked", "round.drawn", "round.settled"} <= {key for key, _ in written}
    for key, payload in written:
        msgspec.json.decode(payload, type=EVENTS[key])
