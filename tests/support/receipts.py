"""Answers to bets with their receipts, from the protocol alone, and `keno-verify receipt` on them.

Like `bundles.py` it shares no code with the product and none with the verifier.
"""

import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import keno
from support.bundles import House, Line, TestBet, path, sha, tree, uint
from support.javascript import javascript_verifier

VERIFIER = Path(keno.__file__).parent / "verifier.py"
ACCEPTED_MS = 1_700_000_000_500


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Signer:
    """A platform's receipt key."""

    def __init__(self, secret: bytes = bytes(range(32))) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(secret)
        self.public = self.key.public_key().public_bytes_raw()
        self.id = base64url(sha(f'{{"crv":"Ed25519","kty":"OKP","x":"{base64url(self.public)}"}}'.encode()))

    @property
    def key_set(self) -> Line:
        key = {"kty": "OKP", "crv": "Ed25519", "kid": self.id, "use": "sig", "alg": "Ed25519"}
        return {"keys": [key | {"x": base64url(self.public)}]}

    def answers(self, house: House, number: int, bets: Sequence[TestBet]) -> list[Line]:
        """The answers to bets that were accepted in one batch."""
        leaves = [bet.leaf(bytes.fromhex(house.paytable["hash"])) for bet in bets]
        said = [b"keno1:receipt" + house.context(number) + sha(b"\0", leaf) + uint(ACCEPTED_MS, 8) for leaf in leaves]
        hashes = [sha(b"\0", statement) for statement in said]
        message = said[0] if len(said) == 1 else b"keno1:batch" + uint(len(said), 4) + tree(hashes)
        signature = self.key.sign(message).hex()
        answers = []
        for index, (bet, leaf) in enumerate(zip(bets, leaves, strict=True)):
            proof = b"".join(path(hashes, index)).hex()
            batch = None if len(said) == 1 else {"count": len(said), "index": index, "path": proof}
            answers.append(answer(house, number, bet, leaf, self.id, signature, batch))
        return answers


def answer(
    house: House, number: int, bet: TestBet, leaf: bytes, key_id: str, signature: str, batch: Line | None
) -> Line:
    room = house.room.hex()
    return {
        "bet_id": str(bet.bet_id),
        "transaction_id": f"t-{bet.bet_id}",
        "round": {"id": str(number), "number": number},
        "room": "-".join((room[:8], room[8:12], room[12:16], room[16:20], room[20:])),
        "player": bet.player,
        "picks": sorted(bet.picks),
        "stake_minor": bet.stake_minor,
        "currency": bet.currency,
        "paytable": house.paytable["hash"],
        "accepted_ms": ACCEPTED_MS,
        "receipt": {
            "leaf": leaf.hex(),
            "leaf_hash": sha(b"\0", leaf).hex(),
            "key_id": key_id,
            "signature": signature,
            "batch": batch,
        },
    }


def verify_receipt(
    folder: Path, receipt: bytes, *, keys: Line | None = None, evidence: bytes | None = None
) -> dict[str, Any]:
    """What `keno-verify receipt` says, from a process that sees nothing of this project but its one file."""
    (folder / "receipt.json").write_bytes(receipt)
    options = []
    if keys is not None:
        (folder / "jwks.json").write_text(json.dumps(keys))
        options += ["--jwks", folder / "jwks.json"]
    if evidence is not None:
        (folder / "bundle.jsonl").write_bytes(evidence)
        options += ["--evidence", folder / "bundle.jsonl"]
    command = [sys.executable, "-I", "-S", VERIFIER, "receipt", "--json", folder / "receipt.json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.stderr == ""
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["exit_status"] == done.returncode
    found = None
    if said["files"][0]["malformed"] is None:
        found = [essence(each["exit_status"], each["omitted"], each["checks"]) for each in said["files"][0]["receipts"]]
    assert_agreement(found, receipt, None if keys is None else json.dumps(keys).encode(), evidence)
    return said


def essence(status: int, omitted: bool, checks: Sequence[Line]) -> Line:
    """What both verifiers must say of a receipt."""
    return {"status": status, "omitted": omitted, "checks": sorted({(c["name"], c["verdict"]) for c in checks})}


def assert_agreement(found: Sequence[Line] | None, receipt: bytes, keys: bytes | None, evidence: bytes | None) -> None:
    """The verifier in JavaScript finds the same of the receipts of a file; None: it is malformed."""
    said = javascript_verifier().verify_receipt(receipt, keys, evidence)
    if said is not None:
        said = [each | {"checks": sorted({(name, verdict) for name, verdict in each["checks"]})} for each in said]
    assert said == found


def verdicts(said: dict[str, Any], receipt: int = 0) -> dict[str, str]:
    """The checks of a receipt by their names."""
    return {check["name"]: check["verdict"] for check in said["files"][0]["receipts"][receipt]["checks"]}
