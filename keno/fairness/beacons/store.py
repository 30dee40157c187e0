"""SQL of beacons: chains, kept rounds, and which rounds of keno wait for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from keno.fairness.beacon import Chain, Terms
from keno.game import rules
from keno.infra.postgres import Executor


async def publish_chain(conn: Executor, chain: Chain) -> None:
    """Stores a chain under its hash; harmless where it is there."""
    await conn.execute(
        """
        INSERT INTO beacon_chains (hash, public_key, period_s, genesis_s, group_hash, beacon_id)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING
        """,
        chain.hash,
        chain.public_key,
        chain.period_s,
        chain.genesis_s,
        chain.group_hash,
        chain.beacon_id,
    )


async def chain(conn: Executor, chain_hash: bytes) -> Chain | None:
    """A published chain."""
    row = await conn.fetchrow(
        "SELECT public_key, period_s, genesis_s, group_hash, beacon_id FROM beacon_chains WHERE hash = $1", chain_hash
    )
    return None if row is None else Chain(*row.values())


async def terms(conn: Executor, rules_hash: bytes) -> Terms:
    """What published rules say of beacons, read from their document itself."""
    document: bytes = await conn.fetchval("SELECT document FROM rules WHERE hash = $1", rules_hash)
    stated = rules.parse(document)
    chain_hash = None if stated.beacon_chain is None else bytes.fromhex(stated.beacon_chain)
    return Terms(stated.profile, stated.guard_ms, chain_hash)


async def epochs_opened_ms(conn: Executor, round_ids: Sequence[int]) -> dict[int, int]:
    """When the epoch of each round was opened, by round id."""
    rows = await conn.fetch(
        "SELECT r.id, e.opened_ms FROM rounds AS r JOIN epochs AS e ON e.id = r.epoch_id WHERE r.id = ANY ($1)",
        round_ids,
    )
    return {row["id"]: row["opened_ms"] for row in rows}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A beacon that sealed rounds wait for. `due_in_ms` is below 0 once it must have been published."""

    chain_hash: bytes
    beacon_round: int
    due_in_ms: int


async def wanted(conn: Executor) -> list[Wanted]:
    """The beacons that are waited for, the first due first."""
    return [Wanted(*row.values()) for row in await conn.fetch("SELECT * FROM beacons_wanted()")]


async def keep(conn: Executor, chain_hash: bytes, beacon_round: int, signature: bytes) -> bool:
    """Keeps a verified beacon; whether it is new."""
    is_new: bool = await conn.fetchval("SELECT keep_beacon($1, $2, $3)", chain_hash, beacon_round, signature)
    return is_new


async def signature(conn: Executor, chain_hash: bytes, beacon_round: int) -> bytes | None:
    """A kept beacon's signature."""
    found: bytes | None = await conn.fetchval(
        "SELECT signature FROM beacons WHERE chain_hash = $1 AND round = $2", chain_hash, beacon_round
    )
    return found


async def drawable(conn: Executor, round_ids: Sequence[int]) -> dict[int, bytes]:
    """The beacon signatures of the rounds that have one and were not given up, by round id."""
    rows = await conn.fetch(
        """
        SELECT r.id, b.signature FROM rounds AS r
        JOIN rules_beacons AS t ON t.rules_hash = r.rules_hash
        JOIN beacons AS b ON b.chain_hash = t.chain_hash AND b.round = r.beacon_round
        WHERE r.id = ANY ($1) AND NOT EXISTS (SELECT FROM beacon_misses AS m WHERE m.round_id = r.id)
        """,
        round_ids,
    )
    return {row["id"]: row["signature"] for row in rows}


@dataclass(frozen=True, slots=True)
class KeptBeacon:
    """The kept beacon of a round of profile E or B."""

    round_id: int
    chain_hash: bytes
    beacon_round: int
    signature: bytes


async def beacons_of(conn: Executor, round_ids: Sequence[int]) -> list[KeptBeacon]:
    """The kept beacons of those rounds that have one."""
    rows = await conn.fetch(
        """
        SELECT r.id, b.chain_hash, b.round, b.signature FROM rounds AS r
        JOIN rules_beacons AS t ON t.rules_hash = r.rules_hash
        JOIN beacons AS b ON b.chain_hash = t.chain_hash AND b.round = r.beacon_round
        WHERE r.id = ANY ($1)
        """,
        round_ids,
    )
    return [KeptBeacon(*row.values()) for row in rows]


async def give_up(conn: Executor, shard: int, lease_epoch: int, wait_ms: int) -> int | None:
    """Gives up the rounds that waited `wait_ms` for a beacon that was due; how many, None where the lease was lost."""
    missed: int | None = await conn.fetchval("SELECT give_up_beacons($1, $2, $3)", shard, lease_epoch, wait_ms)
    return missed


async def rounds_to_void(conn: Executor, shard: int, limit: int) -> list[tuple[int, bytes]]:
    """(id, seed) of the rounds that were given up and whose seed has been released."""
    return [tuple(row) for row in await conn.fetch("SELECT round_id, seed FROM rounds_to_void($1, $2)", shard, limit)]


async def newest_epoch_ms(conn: Executor, room_id: UUID) -> int | None:
    """When the newest epoch of a room was opened."""
    opened_ms: int | None = await conn.fetchval("SELECT max(opened_ms) FROM epochs WHERE room_id = $1", room_id)
    return opened_ms
