"""Scenarios for locust: operators that send bets one by one or in batches, and players on the live stream.

`python -m benchmarks.load` makes an installation with an operator and a room and runs these on it. To load another one:
`locust -f benchmarks/locustfile.py`, with KENO_LOAD_KEY_ID and KENO_LOAD_SECRET (an HMAC key of an operator, in hex),
KENO_LOAD_ROOM (a room's id), and KENO_LOAD_GATEWAY, KENO_LOAD_LANE and KENO_LOAD_LIVE, each an origin that signatures
and pages may name. Choose among the classes on locust's command line.

A bet that meets a round between its lock and the next one's opening is refused as it should be, and counts as answered
under a name of its own.
"""

import json
import os
import random
import secrets
import time
import uuid
from typing import Any

import gevent
import websocket
from locust import FastHttpUser, between, task

from keno.identity.signature import HmacSecret, sign

KEY_ID = os.environ["KENO_LOAD_KEY_ID"]
KEY = HmacSecret(bytes.fromhex(os.environ["KENO_LOAD_SECRET"]))
ROOM = os.environ["KENO_LOAD_ROOM"]
CURRENCY = os.environ.get("KENO_LOAD_CURRENCY", "EUR")
GATEWAY = os.environ.get("KENO_LOAD_GATEWAY", "http://127.0.0.1:8080")
LANE = os.environ.get("KENO_LOAD_LANE", GATEWAY)
LIVE = os.environ.get("KENO_LOAD_LIVE", "http://127.0.0.1:8081")
BATCH_BETS = 100
DEPOSIT_MINOR = 100_000_000
ANSWER_S = 10.0
_BETWEEN_ROUNDS = ("round_not_open", "round_not_found", "room_not_found")


class _Operator(FastHttpUser):
    """Calls that the operator signs."""

    abstract = True
    host = GATEWAY

    def on_start(self) -> None:
        """A player with more money than a run can lose."""
        self.player = f"player-{uuid.uuid4()}"
        content = {"transaction_id": str(uuid.uuid4()), "amount_minor": DEPOSIT_MINOR, "currency": CURRENCY}
        self.post(GATEWAY, f"/v1/wallets/{self.player}/deposits", content, "deposit")

    def post(self, origin: str, path: str, content: dict[str, Any], name: str) -> dict[str, Any]:
        """The answer to a signed request; the request fails unless it was granted, or came between rounds."""
        body = json.dumps(content).encode()
        headers = sign(
            KEY,
            KEY_ID,
            method="POST",
            target_uri=origin + path,
            body=body,
            created_s=int(time.time()),
            nonce=secrets.token_urlsafe(12),
        )
        headers["Content-Type"] = "application/json"
        with self.client.post(origin + path, data=body, headers=headers, name=name, catch_response=True) as answer:
            told: dict[str, Any] = json.loads(answer.content or b"{}")
            if told.get("code") in _BETWEEN_ROUNDS:
                answer.request_meta["name"] = f"{name}, between rounds"
                answer.success()
            elif answer.status_code not in (200, 201):
                answer.failure(f"{answer.status_code} {told.get('code')}")
            return told

    def bet(self) -> dict[str, Any]:
        """A bet that nobody has placed."""
        return _bet() | {"player": self.player, "currency": CURRENCY}


class OperatorSingle(_Operator):
    """An operator's server that sends each bet as it comes."""

    wait_time = between(0, 0.05)

    @task
    def place(self) -> None:
        """One bet."""
        self.post(LANE, "/v1/bets", self.bet(), "bet")


class OperatorBatch(_Operator):
    """An operator's server that collects bets."""

    wait_time = between(0, 0.5)

    @task
    def place(self) -> None:
        """BATCH_BETS bets in one request."""
        bets = [self.bet() for _ in range(BATCH_BETS)]
        self.post(LANE, "/v1/bets/batch", {"bets": bets}, f"batch of {BATCH_BETS}")


class Player(_Operator):
    """A player who follows the room on the live stream, and bets there now and then."""

    wait_time = between(1, 5)

    def on_start(self) -> None:
        """A funded player, launched and connected."""
        super().on_start()
        launched = self.post(GATEWAY, "/v1/sessions", {"player": self.player, "currency": CURRENCY}, "launch")
        self.answers: dict[str, gevent.event.AsyncResult[dict[str, Any]]] = {}
        self.socket = websocket.create_connection(
            LIVE.replace("http", "ws", 1) + "/v1/live", timeout=ANSWER_S, enable_multithread=True, suppress_origin=True
        )
        self.reading = gevent.spawn(self._read)
        self.ask({"type": "authenticate", "ticket": launched["ticket"]}, "welcome")
        self.ask({"type": "subscribe", "channels": [f"room:{ROOM}", "player"]}, "subscribe")

    def on_stop(self) -> None:
        """Leaves."""
        self.reading.kill()
        self.socket.close()

    @task
    def place(self) -> None:
        """A bet over the stream."""
        self.ask({"type": "bet", "bet": _bet()}, "bet over the stream")

    def ask(self, frame: dict[str, Any], name: str) -> None:
        """Sends a frame and waits for its answer."""
        request_id, started_s, failed = secrets.token_hex(8), time.perf_counter(), None
        self.answers[request_id] = gevent.event.AsyncResult()
        self.socket.send(json.dumps(frame | {"id": request_id}))
        try:
            told = self.answers[request_id].get(timeout=ANSWER_S)
        except gevent.Timeout:
            told, failed = {}, TimeoutError(f"no answer in {ANSWER_S:g} s")
        del self.answers[request_id]
        if told.get("type") == "problem":
            code = told["problem"]["code"]
            if code in _BETWEEN_ROUNDS:
                name += ", between rounds"
            else:
                failed = RuntimeError(code)
        self._count(name, (time.perf_counter() - started_s) * 1000, 0, failed)

    def _read(self) -> None:
        while True:
            try:
                raw = self.socket.recv()
            except websocket.WebSocketTimeoutException:
                continue
            frame = json.loads(raw)
            waiting = self.answers.get(frame.get("id", ""))
            if waiting is not None:
                waiting.set(frame)
            else:
                self._count(f"told {frame['type']}", 0, len(raw), None)

    def _count(self, name: str, ms: float, length: int, failed: Exception | None) -> None:
        self.environment.events.request.fire(
            request_type="WS", name=name, response_time=ms, response_length=length, exception=failed, context={}
        )


def _bet() -> dict[str, Any]:
    return {
        "transaction_id": str(uuid.uuid4()),
        "room": ROOM,
        "picks": random.sample(range(1, 81), random.randint(1, 10)),
        "stake_minor": 100 * random.randint(1, 10),
    }
