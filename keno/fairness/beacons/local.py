"""The local beacon: what it answers, of which rounds. For demonstrations and tests: whoever has its key knows its
rounds ahead, so it proves nothing to anybody, and says so in its chain's name. How it is served: `gateway.beacon`.
"""

import time
from collections.abc import Callable
from hashlib import sha256

from keno.fairness.beacon import SCHEME, Chain, local_chain, sign_locally


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class LocalBeacon:
    """A local beacon. `chain` is its chain."""

    def __init__(self, secret: bytes, now_ms: Callable[[], int] = _now_ms) -> None:
        """`secret` has 32 bytes; `now_ms` is its clock, UTC milliseconds."""
        self._secret = secret
        self._now_ms = now_ms
        self.chain: Chain = local_chain(secret)

    def info(self) -> dict[str, object]:
        """The chain in drand's form."""
        chain = self.chain
        return {
            "public_key": chain.public_key.hex(),
            "period": chain.period_s,
            "genesis_time": chain.genesis_s,
            "hash": chain.hash.hex(),
            "groupHash": chain.group_hash.hex(),
            "schemeID": SCHEME,
            "metadata": {"beaconID": chain.beacon_id},
        }

    def beacon(self, beacon_round: int | None = None) -> dict[str, object] | None:
        """A round in drand's form, by default the newest; None where it is not published yet."""
        latest = self.chain.latest_round(self._now_ms())
        wanted = latest if beacon_round is None else beacon_round
        if not 1 <= wanted <= latest:
            return None
        signature = sign_locally(self._secret, wanted)
        return {"round": wanted, "randomness": sha256(signature).hexdigest(), "signature": signature.hex()}
