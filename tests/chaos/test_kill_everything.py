"""SIGKILL to the whole platform while players bet: what clients were told stays true."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno.demo.players import OperatorClient

PLAYERS = [f"player-{n}" for n in range(6)]
DEPOSIT_MINOR = 1_000_000
KILLS = 2


@dataclass
class Installation:
    """One data folder, on which `keno up` is started, killed and started again."""

    data_dir: Path
    port: int
    server: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keno(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "keno", *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> None:
        with (self.data_dir / "up.log").open("ab") as log:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "keno", "up"], env=self._environment(), stdout=log, stderr=log
            )

    def end(self, number: signal.Signals) -> int:
        assert self.server is not None
        self.server.send_signal(number)
        return self.server.wait(timeout=60)

    async def ready(self) -> None:
        async with httpx.AsyncClient() as http:
            for _ in range(600):
                assert self.server is not None
                assert self.server.poll() is None, (self.data_dir / "up.log").read_text()[-3000:]
                try:
                    if (await http.get(f"{self.origin}/readyz")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
        raise AssertionError((self.data_dir / "up.log").read_text()[-3000:])

    def _environment(self) -> dict[str, str]:
        own = {"KENO_DATA_DIR": str(self.data_dir), "KENO_PORT": str(self.port), "KENO_EPOCH_ROUNDS": "8"}
        return {**{name: value for name, value in os.environ.items() if not name.startswith("KENO_")}, **own}


@pytest.fixture
def installation() -> Iterator[Installation]:
    # Not tmp_path: pytest closes its folders to other accounts, and as root the embedded servers run under one.
    with tempfile.TemporaryDirectory(prefix="keno-kill-") as folder:
        yield from _installation(Path(folder))


def _installation(folder: Path) -> Iterator[Installation]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    made = Installation(folder / "data", port)
    made.data_dir.mkdir()
    yield made
    if made.server is not None and made.server.poll() is None:
        made.end(signal.SIGTERM)
    made.keno("audit")  # the last holder of the embedded servers stops them, whatever happened before


@dataclass
class Told:
    """What the server told the client: the answer by transaction id, and the requests that got none."""

    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    unanswered: list[dict[str, Any]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def hear(self, request: dict[str, Any], answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.CREATED:
            self.accepted[request["transaction_id"]] = answer.json()
        else:
            self.others[answer.json()["code"]] += 1


async def bet(client: OperatorClient, room: str, told: Told, seconds: float, taste: random.Random) -> None:
    """Players bet for a while, and go on when the server has gone."""

    async def player(reference: str) -> None:
        while asyncio.get_running_loop().time() < end:
            request = {
                "transaction_id": str(uuid.uuid4()),
                "player": reference,
                "room": room,
                "picks": taste.sample(range(1, 81), taste.randint(1, 10)),
                "stake_minor": 100 * taste.randint(1, 5),
                "currency": "EUR",
            }
            try:
                told.hear(request, await client.call("POST", "/v1/bets", request))
            except httpx.TransportError:
                told.unanswered.append(request)
                return
            await asyncio.sleep(taste.uniform(0, 0.02))

    end = asyncio.get_running_loop().time() + seconds
    await asyncio.gather(*(player(reference) for reference in PLAYERS))


async def settled(client: OperatorClient, bet_id: str) -> dict[str, Any]:
    """The bet once it has ended and, if it won, was credited."""
    for _ in range(300):
        answer = await client.call("GET", f"/v1/bets/{bet_id}")
        assert answer.status_code == httpx.codes.OK, answer.text
        found: dict[str, Any] = answer.json()
        result = found["result"]
        if result is not None and (not result["payout_minor"] or result["credited_ms"]):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"bet {bet_id} did not end: {found}")


async def test_what_clients_were_told_stays_true_when_everything_is_killed(installation: Installation) -> None:
    taste = random.Random(2026)
    private_key = Ed25519PrivateKey.generate()
    assert installation.keno("operator", "add", "house", "--currency", "EUR").returncode == 0
    public_key = private_key.public_key().public_bytes_raw().hex()
    assert installation.keno("operator", "key", "house", "first", "--ed25519", public_key).returncode == 0
    added = installation.keno(
        "room", "add", "fast", "--period-ms", "2000", "--lock-lead-ms", "500", "--currency", "EUR"
    )
    assert added.returncode == 0, added.stderr
    room = added.stdout.strip()

    installation.start()
    await installation.ready()
    client = OperatorClient(installation.origin, "first", private_key)
    for reference in PLAYERS:
        deposit = {"transaction_id": f"deposit-{reference}", "amount_minor": DEPOSIT_MINOR, "currency": "EUR"}
        answer = await client.call("POST", f"/v1/wallets/{reference}/deposits", deposit)
        assert answer.status_code == httpx.codes.CREATED, answer.text

    told = Told()
    for _ in range(KILLS):
        betting = asyncio.create_task(bet(client, room, told, 60, taste))
        await asyncio.sleep(taste.uniform(2, 4))
        assert not betting.done()
        installation.end(signal.SIGKILL)
        await betting
        installation.start()
        await installation.ready()
        retries, told.unanswered = told.unanswered, []
        for request in retries:
            told.hear(request, await client.call("POST", "/v1/bets", request))

    assert len(told.accepted) > 50
    assert set(told.others) <= {"round_not_open"}, told.others
    expected_minor = dict.fromkeys(PLAYERS, DEPOSIT_MINOR)
    for transaction_id, answer in told.accepted.items():
        ended = await settled(client, answer["bet_id"])
        assert ended["transaction_id"] == transaction_id
        for name in ("player", "picks", "stake_minor", "currency", "accepted_ms", "receipt"):
            assert ended[name] == answer[name]
        expected_minor[ended["player"]] += ended["result"]["payout_minor"] - ended["stake_minor"]
    for reference, minor in expected_minor.items():
        balances = (await client.call("GET", f"/v1/wallets/{reference}")).json()["balances"]
        assert balances == [{"currency": "EUR", "balance_minor": minor}]
    await client.close()

    assert installation.end(signal.SIGTERM) == 0
    audit = installation.keno("audit")
    assert audit.returncode == 0, audit.stdout
