"""An installation that can be killed, its operator and its betting players, and what they were told."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno.demo.players import OperatorClient
from keno.infra.key_providers import LocalKeys
from keno.infra.keyfiles import load_keys
from support.commands import keno_here
from support.databases import Database
from support.ports import free_ports

PLAYERS = [f"player-{n}" for n in range(6)]
DEPOSIT_MINOR = 1_000_000


@dataclass
class Installation:
    """One data folder, with embedded servers unless `more` names others, for `keno` processes that come and go."""

    data_dir: Path
    port: int
    more: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keno(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "keno", *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def keno_here(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same within this process, which is quicker; not for commands that serve."""
        return keno_here(self.environment(), *arguments)

    def start(self, *arguments: str, **more: str) -> None:
        """Starts `keno ARGUMENTS`, which are also its name here."""
        with self.log.open("ab") as log:
            self.processes[" ".join(arguments)] = subprocess.Popen(
                [sys.executable, "-m", "keno", *arguments], env=self.environment() | more, stdout=log, stderr=log
            )

    def end(self, name: str, number: signal.Signals) -> int:
        self.processes[name].send_signal(number)
        return self.processes[name].wait(timeout=60)

    async def ready(self) -> None:
        """Returns once the gateway serves."""
        async with httpx.AsyncClient() as http:
            for _ in range(600):
                for name, process in self.processes.items():
                    assert process.poll() is None, f"{name} ended: {self.log_tail()}"
                try:
                    if (await http.get(f"{self.origin}/readyz")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)
        raise AssertionError(self.log_tail())

    def log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]

    @property
    def log(self) -> Path:
        return self.data_dir / "keno.log"

    def environment(self) -> dict[str, str]:
        own = {"KENO_DATA_DIR": str(self.data_dir), "KENO_PORT": str(self.port), "KENO_EPOCH_ROUNDS": "8"}
        others = {name: value for name, value in os.environ.items() if not name.startswith("KENO_")}
        return others | own | self.more

    def add_operator(self) -> Ed25519PrivateKey:
        """An operator with euros and the key "first"."""
        private_key = Ed25519PrivateKey.generate()
        assert self.keno_here("operator", "add", "house", "--currency", "EUR").returncode == 0
        public_key = private_key.public_key().public_bytes_raw().hex()
        assert self.keno_here("operator", "key", "house", "first", "--ed25519", public_key).returncode == 0
        return private_key

    def add_room(self) -> str:
        """A room with a round every two seconds; its id."""
        added = self.keno_here(
            "room", "add", "fast", "--period-ms", "2000", "--lock-lead-ms", "500", "--currency", "EUR"
        )
        assert added.returncode == 0, added.stderr
        return added.stdout.strip()


@contextmanager
def installed(**more: str) -> Iterator[Installation]:
    """An empty installation, with `more` in its environment; whatever of it still runs at the end is ended."""
    # Not tmp_path: pytest closes its folders to other accounts, and as root the embedded servers run under one.
    with tempfile.TemporaryDirectory(prefix="keno-kill-") as folder:
        # The gateway's; by default the live stream, the lane and the local beacon have those after it.
        port, *_ = free_ports(4)
        made = Installation(Path(folder) / "data", port, more)
        made.data_dir.mkdir()
        try:
            yield made
        finally:
            for process in made.processes.values():
                if process.poll() is None:
                    process.send_signal(signal.SIGCONT)
                    process.kill()
                    process.wait(timeout=60)
            if "KENO_DATABASE_URL" not in more:
                made.keno("audit")  # the last holder of the embedded servers stops them, whatever happened before


def named_servers(database: Database, redis_url: str, keys_dir: Path) -> dict[str, str]:
    """The environment of an installation on the servers of the tests: none of its commands has any to start."""
    load_keys(keys_dir, create=True)
    LocalKeys.from_files(keys_dir, create=True)
    return {
        "KENO_DATABASE_URL": database.app_url,
        "KENO_VAULT_DATABASE_URL": database.vault_url,
        "KENO_REDIS_URL": redis_url,
        "KENO_KEYS_DIR": str(keys_dir),
        "KENO_BEACON": "local",
    }


@dataclass
class Told:
    """What the server told the client: the answer by transaction id, and the requests that got none."""

    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)
    unanswered: list[dict[str, Any]] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)

    def hear(self, request: dict[str, Any], answer: httpx.Response) -> None:
        if answer.status_code == httpx.codes.CREATED:
            self.accepted[request["transaction_id"]] = answer.json()
        elif answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            # It may be on disk or not; the same id again will tell.
            self.others[answer.json()["code"]] += 1
            self.unanswered.append(request)
        else:
            self.others[answer.json()["code"]] += 1

    async def ask_again(self, client: OperatorClient) -> None:
        """Sends what got no answer once more, under the same ids, until each has one."""
        for _ in range(600):
            retries, self.unanswered = self.unanswered, []
            for request in retries:
                await self.place(client, request)
            if not self.unanswered:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{len(self.unanswered)} bets have no answer; so far {self.others}")

    async def place(self, client: OperatorClient, request: dict[str, Any]) -> None:
        try:
            self.hear(request, await client.call("POST", "/v1/bets", request))
        except httpx.TransportError:
            self.unanswered.append(request)


async def deposit(client: OperatorClient) -> None:
    """Gives every player DEPOSIT_MINOR."""
    for reference in PLAYERS:
        request = {"transaction_id": f"deposit-{reference}", "amount_minor": DEPOSIT_MINOR, "currency": "EUR"}
        answer = await client.call("POST", f"/v1/wallets/{reference}/deposits", request)
        assert answer.status_code == httpx.codes.CREATED, answer.text


async def bet(client: OperatorClient, room: str, told: Told, taste: random.Random, enough: asyncio.Event) -> None:
    """Players bet until it is enough, and go on when the server has gone."""

    async def player(reference: str) -> None:
        while not enough.is_set():
            request = {
                "transaction_id": str(uuid.uuid4()),
                "player": reference,
                "room": room,
                "picks": taste.sample(range(1, 81), taste.randint(1, 10)),
                "stake_minor": 100 * taste.randint(1, 5),
                "currency": "EUR",
            }
            before = len(told.unanswered)
            await told.place(client, request)
            await asyncio.sleep(taste.uniform(0.2, 0.4) if len(told.unanswered) > before else taste.uniform(0, 0.02))

    await asyncio.gather(*(player(reference) for reference in PLAYERS))


async def compare_books(client: OperatorClient, told: Told) -> None:
    """Every bet that was acknowledged has ended as it was told, and the balances are what an own count makes them."""
    expected_minor = dict.fromkeys(PLAYERS, DEPOSIT_MINOR)
    for transaction_id, answer in told.accepted.items():
        ended = await _ended(client, answer["bet_id"])
        assert ended["transaction_id"] == transaction_id
        for name in ("player", "picks", "stake_minor", "currency", "accepted_ms"):
            assert ended[name] == answer[name]
        # Signed alone now, and then perhaps with the others of its batch: the same words.
        for name in ("leaf", "leaf_hash", "key_id"):
            assert ended["receipt"][name] == answer["receipt"][name]
        expected_minor[ended["player"]] += ended["result"]["payout_minor"] - ended["stake_minor"]
    for reference, minor in expected_minor.items():
        balances = (await client.call("GET", f"/v1/wallets/{reference}")).json()["balances"]
        assert balances == [{"currency": "EUR", "balance_minor": minor}]


async def _ended(client: OperatorClient, bet_id: str) -> dict[str, Any]:
    """The bet once it has ended and, if it won, was credited."""
    found: dict[str, Any] = {}
    for _ in range(300):
        answer = await client.call("GET", f"/v1/bets/{bet_id}")
        assert answer.status_code == httpx.codes.OK, answer.text
        found = answer.json()
        result = found["result"]
        if result is not None and (not result["payout_minor"] or result["credited_ms"]):
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"bet {bet_id} did not end: {found}")
