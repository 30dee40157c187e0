"""Beacons: drand chains, their rounds' signatures, and which round counts for a round of keno.

Pure. Two kinds of chain are known: drand quicknet, which is public and pinned here, and local beacons of
demonstrations and tests, whose key somebody's own server holds. A local beacon keeps quicknet's clock, so that nothing
else differs; its name says what it is, and enters its hash. How beacons are fetched and kept: `keno.fairness.beacons`.
"""

import hashlib
from dataclasses import dataclass

from keno import _core
from keno.fairness import keno1
from keno.fairness.keno1 import Lock, Profile

SCHEME = "bls-unchained-g1-rfc9380"
LOCAL_ID = "keno-local-not-public"
EPOCH_BEACON_DELAY_MS = 30_000
"""The beacon of an epoch in profile E is the first after its opening, this delay and the guard."""
EPOCH_LEAD_MS = 94_000
"""So long before the first lock of its rounds an epoch of profile E is opened: then its beacon is out in time with the
longest guard of 60 s."""
LATE_MAX_MS = 60_000
"""The published limit: a round whose beacon has not come so long after it was due, and the round was locked, is void
(docs/fairness.md)."""
VOID_BEACON_LATE = 1
"""The reason of such a void."""
SIGNATURE_BYTES = 48


@dataclass(frozen=True, slots=True)
class Chain:
    """A drand chain of the scheme `SCHEME`. `public_key` has 96 bytes, `group_hash` 32."""

    public_key: bytes
    period_s: int
    genesis_s: int
    group_hash: bytes
    beacon_id: str

    @property
    def hash(self) -> bytes:
        """drand's own hash of a chain, 32 bytes: it covers everything here."""
        clock = self.period_s.to_bytes(4, "big") + self.genesis_s.to_bytes(8, "big")
        return hashlib.sha256(clock + self.public_key + self.group_hash + self.beacon_id.encode()).digest()

    @property
    def is_public(self) -> bool:
        """Whether nobody who runs Keno can know its rounds ahead."""
        return self == QUICKNET

    @property
    def name(self) -> str:
        """What to call it before people."""
        return "drand quicknet" if self.is_public else "local beacon, not public"

    def due_ms(self, beacon_round: int) -> int:
        """When a round is published, UTC milliseconds."""
        return (self.genesis_s + (beacon_round - 1) * self.period_s) * 1000

    def latest_round(self, at_ms: int) -> int:
        """The newest round that is published at `at_ms`; below 1 before the chain's start."""
        return (at_ms - self.genesis_s * 1000) // (self.period_s * 1000) + 1

    def verifies(self, beacon_round: int, signature: bytes) -> bool:
        """Whether this is the round's signature; there is but one. Takes a millisecond, without the GIL."""
        return _core.beacon_verify(self.public_key, beacon_round, signature)


QUICKNET = Chain(
    public_key=bytes.fromhex(
        "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a2d106451"
        "0d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76eae8991ef5ece45a"
    ),
    period_s=keno1.QUICKNET_PERIOD_MS // 1000,
    genesis_s=keno1.QUICKNET_GENESIS_MS // 1000,
    group_hash=bytes.fromhex("f477d5c89f21a17c863a7f937c6a6d15859414d2be09cd448d4279af331c5d3e"),
    beacon_id="quicknet",
)


def local_chain(secret: bytes) -> Chain:
    """The chain of a local beacon with this secret, 32 bytes."""
    return Chain(
        public_key=_core.beacon_public_key(secret),
        period_s=QUICKNET.period_s,
        genesis_s=QUICKNET.genesis_s,
        group_hash=hashlib.sha256(LOCAL_ID.encode()).digest(),
        beacon_id=LOCAL_ID,
    )


def sign_locally(secret: bytes, beacon_round: int) -> bytes:
    """The signature of a round of a local beacon, 48 bytes."""
    return _core.beacon_sign(secret, beacon_round)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rules document says of beacons. `chain_hash` is None in profile S."""

    profile: Profile
    guard_ms: int
    chain_hash: bytes | None

    def beacon_round(self, lock_ms: int, epoch_opened_ms: int) -> int:
        """The round of the chain that enters the draw; 0 in profile S."""
        if self.profile == "S":
            return 0
        from_ms = lock_ms if self.profile == "B" else epoch_opened_ms + EPOCH_BEACON_DELAY_MS
        return keno1.beacon_round_at(from_ms, self.guard_ms)

    def fault(self, lock: Lock, epoch_opened_ms: int) -> str | None:
        """What is wrong with the beacon round that a lock names; None where nothing is."""
        expected = self.beacon_round(lock.lock_ms, epoch_opened_ms)
        if lock.beacon_round != expected:
            return f"the lock names beacon round {lock.beacon_round}, not {expected}"
        if self.profile == "E" and QUICKNET.due_ms(expected) >= lock.lock_ms:
            return f"the epoch's beacon round {expected} is not before the lock"
        return None
