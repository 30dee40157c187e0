"""Rooms: opening one with its published rules, and what anyone may see of it and its rounds."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import asyncpg

from keno.errors import KenoError
from keno.game import rules
from keno.game.paytable import Paytable
from keno.game.rules import CurrencyRules, RoomRules
from keno.money import currency
from keno.reporting.store import log_admin_action
from keno.rounds import store
from keno.rounds.schedule import Schedule

GUARD_MS = 2_000
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


class RoomService:
    """Opens and closes rooms, and reads rooms and rounds."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

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
    ) -> store.Room:
        """Opens a room whose round 1 goes on sale now, and publishes its rules and paytables.

        Raises RoomError, RulesError, ScheduleError, and then has changed nothing.
        """
        if not 1 <= len(name) <= _NAME_CHARACTERS_MAX or not name.isprintable():
            raise RoomError(f"a room's name has 1 to {_NAME_CHARACTERS_MAX} printable characters")
        if room_rules.profile != "S":
            raise RoomError(f"profile {room_rules.profile} needs a beacon, and none is connected: use profile S")
        rules.check(room_rules, paytables)
        async with self._pool.acquire() as conn, conn.transaction():
            schedule = Schedule.starting_at(await store.database_now_ms(conn), period_ms, lock_lead_ms)
            for paytable in paytables:
                await store.publish_paytable(conn, paytable.hash, paytable.document)
            await store.publish_rules(
                conn, room_rules.hash, room_rules.document, room_rules.paytables, _limits(room_rules.currencies)
            )
            room = store.Room(
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
                await store.insert_room(conn, room)
            except asyncpg.UniqueViolationError:
                raise RoomExistsError(f"there is a room named {name}") from None
            except asyncpg.ForeignKeyViolationError:
                raise RoomError(f"there is no operator {operator_id}") from None
            await log_admin_action(
                conn, actor, "room.added", str(room.id), None, {"name": name, "rules": room.rules_hash.hex()}
            )
        return room

    async def close(self, name: str, *, actor: str) -> store.Room:
        """Takes a room out of sale; its open round is still played. Raises RoomError."""
        async with self._pool.acquire() as conn, conn.transaction():
            room = await store.room_by_name(conn, name)
            if room is None:
                raise RoomError(f"there is no room named {name}")
            if not await store.close_room(conn, room.id):
                raise RoomError(f"the room {name} is closed already")
            await log_admin_action(conn, actor, "room.closed", str(room.id), {"status": "open"}, {"status": "closed"})
        return replace(room, status="closed")

    async def rooms(self, operator_id: UUID | None = None) -> list[store.Room]:
        """The rooms that an operator may use, or all, by name."""
        return await store.visible_rooms(self._pool, operator_id)

    async def room(self, room_id: UUID, operator_id: UUID | None = None) -> store.Room | None:
        """A room; None where there is none or it is another operator's."""
        room = await store.room_by_id(self._pool, room_id)
        if room is None or not _visible(room, operator_id):
            return None
        return room

    async def room_named(self, name: str) -> store.Room | None:
        """A room by its name."""
        return await store.room_by_name(self._pool, name)

    async def rounds(self, room_id: UUID, before: int | None = None, limit: int = 50) -> list[store.Round]:
        """The rounds of a room, newest first, from below number `before` on."""
        return await store.rounds_before(self._pool, room_id, before, limit)

    async def round(self, round_id: int, operator_id: UUID | None = None) -> store.Round | None:
        """A round; None where there is none or its room is another operator's."""
        found = await store.round_by_id(self._pool, round_id)
        if found is None or await self.room(found.room_id, operator_id) is None:
            return None
        return found

    async def paytable_document(self, digest: bytes) -> bytes | None:
        """The exact bytes of a published paytable."""
        return await store.published_paytable(self._pool, digest)

    async def rules_document(self, digest: bytes) -> bytes | None:
        """The exact bytes of published rules."""
        return await store.published_rules(self._pool, digest)


def _visible(room: store.Room, operator_id: UUID | None) -> bool:
    return operator_id is None or room.operator_id is None or room.operator_id == operator_id


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
