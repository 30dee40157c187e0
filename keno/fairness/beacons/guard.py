"""The vault's judgement of beacons: whether a round's seed may leave it.

It believes only what the round's lock commits to: the published rules, by their hash, the chain that they name, by its
hash, and a signature that verifies under that chain's key. What others wrote into the database beside it may keep a
seed in, but lets none out.
"""

from collections.abc import Iterable

from keno.fairness import beacon
from keno.fairness.beacon import Chain, Terms
from keno.fairness.beacons import store
from keno.fairness.vault_store import SealedRound
from keno.infra.postgres import Connection


class BeaconGuard:
    """Judges sealed rounds. It remembers published rules and chains, which never change."""

    def __init__(self, late_max_ms: int = beacon.LATE_MAX_MS) -> None:
        self._late_max_ms = late_max_ms
        self._terms: dict[bytes, tuple[Terms, Chain | None]] = {}
        self._verified: tuple[bytes, int, bytes] | None = None

    async def read_rules(self, conn: Connection, rules_hashes: Iterable[bytes]) -> None:
        """Reads what published rules say of beacons, for `objection`."""
        for rules_hash in rules_hashes:
            if rules_hash not in self._terms:
                terms = await store.terms(conn, rules_hash)
                chain = None if terms.chain_hash is None else await store.chain(conn, terms.chain_hash)
                if chain is not None and chain.hash != terms.chain_hash:
                    chain = None
                self._terms[rules_hash] = terms, chain

    def objection(self, sealed: SealedRound) -> str | None:
        """Why the seed must not be released; None where nothing speaks against it. Its rules have been read."""
        terms, chain = self._terms[sealed.lock.rules]
        fault = terms.fault(sealed.lock, sealed.epoch_opened_ms)
        if fault is not None or terms.profile == "S":
            return fault
        if chain is None:
            return "the beacon chain of its rules is not published"
        beacon_round = sealed.lock.beacon_round
        if sealed.is_missed:
            since_ms = max(chain.due_ms(beacon_round), sealed.lock.lock_ms)
            waited = sealed.at_ms >= since_ms + self._late_max_ms
            return None if waited else f"it was given up before its beacon was {self._late_max_ms} ms late"
        verifies = sealed.beacon_sig is not None and self._verifies(chain, beacon_round, sealed.beacon_sig)
        return None if verifies else f"the signature of beacon round {beacon_round} does not verify"

    def _verifies(self, chain: Chain, beacon_round: int, signature: bytes) -> bool:
        """Whether it does; once for all the rooms that wait for the same."""
        asked = chain.hash, beacon_round, signature
        if self._verified != asked and chain.verifies(beacon_round, signature):
            self._verified = asked
        return self._verified == asked
