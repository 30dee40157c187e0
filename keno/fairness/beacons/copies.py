"""The beacons of ended rounds as an auditor's copies for `keno-verify --drand`, each signature verified here first."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from keno.fairness.beacons import store
from keno.infra.postgres import Connection


@dataclass(slots=True)
class Copies:
    """Rounds whose beacons are of one chain, or that have none, and those beacons' signatures by beacon round."""

    round_ids: list[int] = field(default_factory=list)
    signatures: dict[int, bytes] = field(default_factory=dict)

    @property
    def answers(self) -> bytes:
        """As drand's answers, one a line."""
        return b"".join(
            msgspec.json.encode({"round": beacon_round, "signature": signature.hex()}) + b"\n"
            for beacon_round, signature in self.signatures.items()
        )


async def by_chain(conn: Connection, round_ids: Sequence[int]) -> list[Copies]:
    """The rounds in their order, by the chain of their beacons. What does not verify is not among the copies."""
    kept = {row.round_id: row for row in await store.beacons_of(conn, round_ids)}
    chains = {row.chain_hash: await store.chain(conn, row.chain_hash) for row in kept.values()}
    found: dict[bytes | None, Copies] = {}
    for round_id in round_ids:
        row = kept.get(round_id)
        copies = found.setdefault(None if row is None else row.chain_hash, Copies())
        copies.round_ids.append(round_id)
        if row is None or row.beacon_round in copies.signatures:
            continue
        chain = chains[row.chain_hash]
        if chain is not None and chain.verifies(row.beacon_round, row.signature):
            copies.signatures[row.beacon_round] = row.signature
    return list(found.values())
