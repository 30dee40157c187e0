"""Rooms: opening, changing and closing one with its published rules, and what anyone may see of it and its rounds."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from uuid import UUID

import asyncpg

from keno.errors import KenoError
from keno.fairness.beacon import EPOCH_LEAD_MS, Chain
from keno.fairness.beacons import store as beacon_store
from keno.game import paytable, rules
from keno.game.paytable import Paytable
from keno.game.rules import CurrencyRules, RoomRules
from keno.infra.postgres import Connection
from keno.money import currency
from keno.reporting.store import log_admin_action
from keno.rounds import room_store
from keno.rounds.schedule import Schedule

GUARD_MS = 2_000
BETS_SHOWN_MAX = 100_000
"""Up to which the bets of a round on sale are counted to be shown."""
_NAME_CHARACTERS_MAX = 64
_STAKES_MAX = 100
_WIN_MAX_STAKES = 50_000
_STEP_MIN_MINOR = 100
"""A hundred minor units: with multipliers in hundredths every win of every stake is a whole number of minor units."""


class RoomError(KenoError):
    """A room cannot be opened or closed as asked; the message says what would be right."""


class RoomExistsError(RoomError):
    """A room has this name already."""


def default_limits(code: str) -> CurrencyRules:
    """Limits for a currency: stakes of 1 to 100 units, in whole units, and a maximum win of 50,000 of them.

    The unit is the currency's own (1 EUR), but at least 100 minor units (100 JPY).
    """
    exponent = currency(code).exponent
    unit = max(10**exponent, _STEP_MIN_MINOR)
    return CurrencyRules(
        exponent=exponent,
        stake_min_minor=unit,
        stake_max_minor=_STAKES_MAX * unit,
        stake_step_minor=unit,
        win_max_minor=_WIN_MAX_STAKES * unit,
    )


@dataclass(frozen=True, slots=True)
class Offer:
    """The paytables of a room, the default first, and the bounds of their return."""

    rtp_bounds: tuple[Fraction, Fraction]
    paytables: Sequence[Paytable]


@dataclass(frozen=True, slots=True)
class Fairness:
    """What a room's fairness profile is to be; None leaves it."""

    profile: rules.FairnessProfile | None = None
    guard_ms: int | None = None


class RoomService:
    """Opens, changes and closes rooms, and reads rooms and rounds. New rooms are divided among `shards`.

    Rooms of profiles E and B have beacons of the chain `beacon`; without it there are none.
    """

    def __init__(self, pool: asyncpg.Pool, shards: int = 1, beacon: Chain | None = None) -> None:
        self._pool = pool
        self._shards = shards
        self._beacon = beacon

    async def add(
        self,
        name: str,
        *,
        period_ms: int,
        lock_lead_ms: int,
        room_rules: RoomRules,
        paytables: Sequence[Paytable],
        operator_id: UUID | None = None,
        actor: str,
    ) -> room_store.Room:
        """Opens a room whose round 1 goes on sale now, in profile E once the beacon of its first epoch must be out, and
        publishes its rules and paytables.

        Raises RoomError, RulesError, ScheduleError, and then has changed nothing.
        """
        if not 1 <= len(name) <= _NAME_CHARACTERS_MAX or not name.isprintable():
            raise RoomError(f"a room's name has 1 to {_NAME_CHARACTERS_MAX} printable characters")
        rules.check(room_rules, paytables)
        async with self._pool.acquire() as conn, conn.transaction():
            starts_ms = await room_store.database_now_ms(conn)
            if room_rules.profile == "E":
                starts_ms += EPOCH_LEAD_MS
            schedule = Schedule.starting_at(starts_ms, period_ms, lock_lead_ms)
            schedule.check_profile(room_rules.profile)
            await self._connect(conn, room_rules)
            await _publish(conn, room_rules, paytables)
            room = room_store.Room(
                id=uuid.uuid4(),
                name=name,
                operator_id=operator_id,
                status="open",
                profile=room_rules.profile,
                period_ms=schedule.period_ms,
                lock_lead_ms=schedule.lock_lead_ms,
                slot_epoch_ms=schedule.slot_epoch_ms,
                rules_hash=room_rules.hash,
            )
            try:
                await room_store.insert_room(conn, room, self._shards)
            except asyncpg.UniqueViolationError:
                raise RoomExistsError(f"there is a room named {name}") from None
            except asyncpg.ForeignKeyViolationError:
                raise RoomError(f"there is no operator {operator_id}") from None
            await log_admin_action(
                conn, actor, "room.added", str(room.id), None, {"name": name, "rules": room.rules_hash.hex()}
            )
        return room

    async def set(
        self,
        name: str,
        *,
        period_ms: int | None = None,
        lock_lead_ms: int | None = None,
        offer: Offer | None = None,
        currencies: Sequence[str] | None = None,
        fairness: Fairness | None = None,
        actor: str,
    ) -> room_store.Terms:
        """Changes a room from its next slot on, all but what is None; the round on sale keeps its terms.

        `currencies` replaces those that are offered: a new one gets the default limits, others keep theirs. Changes
        that still wait for their slot are built upon. Raises RoomError, RulesError, ScheduleError, and then has changed
        nothing.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            room = await _hold_open_room(conn, name)
            before = await room_store.pending_terms(conn, room.id) or room_store.Terms(
                room.period_ms, room.lock_lead_ms, room.rules_hash
            )
            schedule = Schedule(
                room.slot_epoch_ms,
                before.period_ms if period_ms is None else period_ms,
                before.lock_lead_ms if lock_lead_ms is None else lock_lead_ms,
            )
            rules_hash = before.rules_hash
            changed, offered = await self._changed_rules(conn, rules_hash, offer, currencies, fairness)
            schedule.check_profile(changed.profile)
            if changed.hash != rules_hash:
                rules.check(changed, offered)
                await self._connect(conn, changed)
                if changed.profile == "E" and room.profile != "E":
                    await _check_epochs_are_old(conn, room.id)
                await _publish(conn, changed, offered)
                rules_hash = changed.hash
            terms = room_store.Terms(schedule.period_ms, schedule.lock_lead_ms, rules_hash)
            if terms != before:
                await room_store.set_room(conn, room.id, terms)
                await log_admin_action(conn, actor, "room.set", str(room.id), _shown(before), _shown(terms))
        return terms

    async def close(self, name: str, *, actor: str) -> room_store.Room:
        """Takes a room out of sale; its open round is still played, and none opens after it. Raises RoomError."""
        async with self._pool.acquire() as conn, conn.transaction():
            # First what the scheduler takes first, who then waits for the room and the audit trail as this does.
            await room_store.hold_openings(conn, name)
            room = await _hold_open_room(conn, name)
            await log_admin_action(conn, actor, "room.closed", str(room.id), {"status": "open"}, {"status": "closed"})
            await room_store.close_room(conn, room.id)
        return replace(room, status="closed")

    async def _connect(self, conn: Connection, room_rules: RoomRules) -> None:
        """Publishes the chain that rules name. Raises RoomError where it is not the one that is connected."""
        if room_rules.profile == "S":
            return
        if self._beacon is None or room_rules.beacon_chain != self._beacon.hash.hex():
            raise RoomError(f"profile {room_rules.profile} needs a beacon that is connected: use profile S")
        await beacon_store.publish_chain(conn, self._beacon)

    async def _changed_rules(
        self,
        conn: Connection,
        rules_hash: bytes,
        offer: Offer | None,
        currencies: Sequence[str] | None,
        fairness: Fairness | None,
    ) -> tuple[RoomRules, Sequence[Paytable]]:
        """Published rules with what is not None changed, and the paytables that they offer then."""
        document = await room_store.published_rules(conn, rules_hash)
        assert document is not None, "a room's rules are published"  # noqa: S101
        before = rules.parse(document)
        if offer is None:
            documents = [await room_store.published_paytable(conn, digest) for digest in before.paytables]
            offer = Offer(before.rtp_bounds, [paytable.parse(each) for each in documents if each is not None])
        codes = before.currencies if currencies is None else currencies
        profile, guard_ms, chain = before.profile, before.guard_ms, before.beacon_chain
        if fairness is not None:
            profile = fairness.profile or profile
            guard_ms = guard_ms if fairness.guard_ms is None else fairness.guard_ms
            if fairness.profile is not None:
                chain = None if profile == "S" or self._beacon is None else self._beacon.hash.hex()
        changed = rules.build(
            profile=profile,
            guard_ms=guard_ms,
            beacon_chain=chain,
            rtp_bounds=offer.rtp_bounds,
            paytables=[each.hash for each in offer.paytables],
            currencies={code: before.currencies.get(code) or default_limits(code) for code in codes},
        )
        return changed, offer.paytables

    async def rooms(self, operator_id: UUID | None = None) -> list[room_store.Room]:
        """The rooms that an operator may use, or all, by name."""
        return await room_store.visible_rooms(self._pool, operator_id)

    async def standings(self, name: str | None = None) -> list[room_store.Standing]:
        """What stands in every room, or in the one of a name, by name. Raises RoomError where there is none of it."""
        found = await room_store.standings(self._pool, name, BETS_SHOWN_MAX)
        if name is not None and not found:
            raise RoomError(f"there is no room named {name}")
        return found

    async def room(self, room_id: UUID, operator_id: UUID | None = None) -> room_store.Room | None:
        """A room; None where there is none or it is another operator's."""
        room = await room_store.room_by_id(self._pool, room_id)
        if room is None or not _visible(room, operator_id):
            return None
        return room

    async def room_named(self, name: str) -> room_store.Room | None:
        """A room by its name."""
        return await room_store.room_by_name(self._pool, name)

    async def rounds(self, room_id: UUID, before: int | None = None, limit: int = 50) -> list[room_store.Round]:
        """The rounds of a room, newest first, from below number `before` on."""
        return await room_store.rounds_before(self._pool, room_id, before, limit)

    async def round(self, round_id: int, operator_id: UUID | None = None) -> room_store.Round | None:
        """A round; None where there is none or its room is another operator's."""
        found = await room_store.round_by_id(self._pool, round_id)
        if found is None or await self.room(found.room_id, operator_id) is None:
            return None
        return found


def _visible(room: room_store.Room, operator_id: UUID | None) -> bool:
    return operator_id is None or room.operator_id is None or room.operator_id == operator_id


async def _hold_open_room(conn: Connection, name: str) -> room_store.Room:
    room = await room_store.hold_room(conn, name)
    if room is None:
        raise RoomError(f"there is no room named {name}")
    if room.status == "closed":
        raise RoomError(f"the room {name} is closed already")
    return room


async def _check_epochs_are_old(conn: Connection, room_id: UUID) -> None:
    """Raises RoomError where commitments of the room are so new that their epoch's beacon may not be out yet."""
    opened_ms = await beacon_store.newest_epoch_ms(conn, room_id)
    now_ms = await room_store.database_now_ms(conn)
    if opened_ms is not None and opened_ms + EPOCH_LEAD_MS > now_ms:
        wait_s = (opened_ms + EPOCH_LEAD_MS - now_ms) // 1000 + 1
        raise RoomError(f"profile E needs commitments that were published earlier: ask again in {wait_s} s")


async def _publish(conn: Connection, room_rules: RoomRules, paytables: Sequence[Paytable]) -> None:
    for each in paytables:
        await room_store.publish_paytable(conn, each)
    await room_store.publish_rules(
        conn, room_rules.hash, room_rules.document, room_rules.paytables, _limits(room_rules.currencies)
    )


def _shown(terms: room_store.Terms) -> dict[str, object]:
    return {
        "period_ms": terms.period_ms,
        "lock_lead_ms": terms.lock_lead_ms,
        "rules": terms.rules_hash.hex(),
    }


def _limits(currencies: Mapping[str, CurrencyRules]) -> list[tuple[str, int, int, int, int, int | None]]:
    return [
        (
            code,
            each.stake_min_minor,
            each.stake_max_minor,
            each.stake_step_minor,
            each.win_max_minor,
            each.round_win_max_minor,
        )
        for code, each in currencies.items()
    ]
