"""Rooms are opened with their published rules or not at all, and closed without a trace of doubt."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from support.rounds import GUARD_MS, Hall, room_rules

from keno.errors import KenoError
from keno.game import rules
from keno.game.profiles import rtp_profile, shipped_paytable
from keno.game.rules import RulesError
from keno.money import CURRENCIES, MoneyError
from keno.rounds import room_store
from keno.rounds.schedule import ScheduleError
from keno.rounds.service import RoomError, RoomExistsError, default_limits

CHAIN = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
TABLES = (
    "rooms",
    "rules",
    "paytables",
    "paytable_tops",
    "rules_currencies",
    "rules_paytables",
    "audit_logs",
    "admin_actions",
    "outbox",
)


async def counts(hall: Hall) -> dict[str, int]:
    return {table: await hall.owner_pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}  # noqa: S608


def asked(**changes: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "name": "one",
        "period_ms": 5_000,
        "lock_lead_ms": 1_000,
        "room_rules": room_rules(),
        "paytables": [shipped_paytable("94")],
        "actor": "a test",
    }
    return usual | changes


@dataclass(frozen=True)
class Refused:
    """What is asked for in place of the usual, and the error that says no."""

    error: type[KenoError]
    changes: dict[str, Any]


REFUSALS = {
    "a period below the least": Refused(ScheduleError, {"period_ms": 1_999, "lock_lead_ms": 1}),
    "a period above the most": Refused(ScheduleError, {"period_ms": 60_001}),
    "no lead": Refused(ScheduleError, {"lock_lead_ms": 0}),
    "a negative lead": Refused(ScheduleError, {"lock_lead_ms": -1}),
    "a lead as long as the period": Refused(ScheduleError, {"lock_lead_ms": 5_000}),
    "profile E without a beacon": Refused(RoomError, {"room_rules": room_rules(profile="E", beacon_chain=CHAIN)}),
    "profile B without a beacon": Refused(RoomError, {"room_rules": room_rules(profile="B", beacon_chain=CHAIN)}),
    "no name": Refused(RoomError, {"name": ""}),
    "a name that is too long": Refused(RoomError, {"name": "x" * 65}),
    "a name with a zero byte": Refused(RoomError, {"name": "a\0b"}),
    "a name with a line break": Refused(RoomError, {"name": "a\nb"}),
    "a name that is no text": Refused(RoomError, {"name": "\ud800"}),
    "an operator that is not there": Refused(RoomError, {"operator_id": uuid4()}),
    "a paytable outside the promised return": Refused(
        RulesError,
        {
            "room_rules": room_rules(paytables=[shipped_paytable("92").hash]),
            "paytables": [shipped_paytable("92")],
        },
    ),
    "another paytable than the rules offer": Refused(RulesError, {"paytables": [shipped_paytable("96")]}),
    "no paytable": Refused(RulesError, {"paytables": []}),
    "rules that offer no paytable": Refused(RulesError, {"room_rules": room_rules(paytables=[]), "paytables": []}),
    "no currency": Refused(RulesError, {"room_rules": room_rules(currencies={})}),
    "a guard below the least": Refused(RulesError, {"room_rules": room_rules(guard_ms=GUARD_MS - 1)}),
}


async def test_a_room_that_is_refused_leaves_nothing_behind(hall: Hall) -> None:
    before = await counts(hall)
    accepted = []
    for what, refused in REFUSALS.items():
        try:
            await hall.rooms.add(**asked(**refused.changes))
        except refused.error:
            assert await counts(hall) == before, what
        else:
            accepted.append(what)
    assert accepted == []


async def test_a_second_room_of_a_name_is_refused_and_leaves_nothing_behind(hall: Hall) -> None:
    first = await hall.rooms.add(**asked())
    before = await counts(hall)
    other_rules = room_rules(paytables=[shipped_paytable("96").hash], rtp_bounds=rtp_profile("96").rtp_bounds)
    with pytest.raises(RoomExistsError, match="one"):
        await hall.rooms.add(**asked(room_rules=other_rules, paytables=[shipped_paytable("96")]))
    assert await counts(hall) == before
    assert await hall.rooms.room_named("one") == first


async def test_a_room_is_found_again_with_its_published_documents(hall: Hall) -> None:
    for name in ("x", "x" * 64, "Salle n° 1 – 早い"):
        room = await hall.rooms.add(**asked(name=name))
        assert await hall.rooms.room(room.id) == await hall.rooms.room_named(name) == room
    document = await room_store.published_rules(hall.app_pool, room.rules_hash)
    assert document == room_rules().document
    assert (
        await room_store.published_paytable(hall.app_pool, shipped_paytable("94").hash)
        == shipped_paytable("94").document
    )
    assert rules.parse(document).currencies == {"EUR": default_limits("EUR")}


async def test_rooms_with_the_same_rules_share_the_published_documents(hall: Hall) -> None:
    one, two = [await hall.rooms.add(**asked(name=name)) for name in ("one", "two")]
    assert one.rules_hash == two.rules_hash
    stored = await counts(hall)
    assert (stored["rules"], stored["paytables"], stored["rules_paytables"], stored["rules_currencies"]) == (1, 1, 1, 1)


async def test_a_private_room_is_seen_by_its_operator_and_no_other(hall: Hall) -> None:
    ours, theirs = await hall.add_operator("ours"), await hall.add_operator("theirs")
    private = await hall.rooms.add(**asked(name="private", operator_id=ours))
    shared = await hall.rooms.add(**asked(name="shared"))
    assert await hall.rooms.rooms(ours) == [private, shared]
    assert await hall.rooms.rooms(theirs) == [shared]
    assert await hall.rooms.rooms() == [private, shared]
    assert await hall.rooms.room(private.id, theirs) is None
    assert await hall.rooms.room(private.id, ours) == private
    await hall.tick()
    round_id = (await hall.row(private, 1))["id"]
    assert await hall.rooms.round(round_id, theirs) is None
    found = await hall.rooms.round(round_id, ours)
    assert found is not None
    assert (found.room_id, found.number, found.phase) == (private.id, 1, "open")


async def test_a_room_that_is_not_there_is_none(hall: Hall) -> None:
    assert await hall.rooms.room(uuid4()) is None
    assert await hall.rooms.room_named("nowhere") is None
    assert await hall.rooms.round(1) is None
    assert await hall.rooms.rounds(uuid4()) == []
    assert await room_store.published_rules(hall.app_pool, bytes(32)) is None
    assert await room_store.published_paytable(hall.app_pool, bytes(32)) is None


async def test_a_closed_room_plays_the_round_on_sale_to_its_end_and_opens_no_other(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    closed = await hall.rooms.close("one", actor="a test")
    assert (closed.id, closed.status) == (room.id, "closed")
    assert await hall.rooms.room(room.id) == closed
    for number in (1, 2, 3):
        await hall.at_draw(room, number)
        await hall.tick()
    assert await hall.phases(room) == ["settled"]


async def test_a_room_is_closed_once_and_by_a_name_that_exists(hall: Hall) -> None:
    await hall.add_room()
    await hall.rooms.close("one", actor="a test")
    before = await counts(hall)
    with pytest.raises(RoomError, match="closed already"):
        await hall.rooms.close("one", actor="a test")
    with pytest.raises(RoomError, match="no room named two"):
        await hall.rooms.close("two", actor="a test")
    assert await counts(hall) == before


async def test_opening_and_closing_a_room_are_audited_with_who_did_it(hall: Hall) -> None:
    room = await hall.rooms.add(**asked(actor="alice"))
    await hall.rooms.close("one", actor="bob")
    rows = await hall.owner_pool.fetch("SELECT actor, action, subject FROM audit_logs ORDER BY id")
    assert [tuple(row) for row in rows] == [
        ("alice", "room.added", str(room.id)),
        ("bob", "room.closed", str(room.id)),
    ]


async def test_rounds_are_listed_newest_first_and_page_by_page(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.play(room, [1, 2, 3])
    assert [each.number for each in await hall.rooms.rounds(room.id)] == [4, 3, 2, 1]
    assert [each.number for each in await hall.rooms.rounds(room.id, limit=2)] == [4, 3]
    assert [each.number for each in await hall.rooms.rounds(room.id, before=3, limit=2)] == [2, 1]
    assert await hall.rooms.rounds(room.id, before=1) == []


@pytest.mark.parametrize("code", sorted(CURRENCIES))
def test_the_usual_limits_of_every_currency_are_rules_that_every_shipped_paytable_meets(code: str) -> None:
    limits = default_limits(code)
    assert limits.exponent == CURRENCIES[code].exponent
    assert limits.accepts(limits.stake_min_minor)
    assert limits.accepts(limits.stake_max_minor)
    for name in ("92", "94", "96"):
        offered = shipped_paytable(name)
        bounds = rtp_profile(name).rtp_bounds
        rules.check(
            room_rules(currencies={code: limits}, paytables=[offered.hash], rtp_bounds=bounds),
            [offered],
        )


def test_an_unknown_currency_has_no_usual_limits() -> None:
    with pytest.raises(MoneyError):
        default_limits("XYZ")
