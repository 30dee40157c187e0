"""The peer of the bet lane: the usual stack, written well. `python -m benchmarks.peers.fastapi_bets PORT` serves it.

FastAPI on uvicorn with uvloop and httptools; the general RFC 9421 library, for the answer's signature as for the
request's; one round trip to Redis for nonce and limit;
SQLAlchemy on asyncpg with the bet as one call of `bet_function.sql` in one transaction. A batch is its bets one after
the other, a transaction each, on one connection. Answers have the fields of ours. Settings come from the environment.
"""

import asyncio
import itertools
import os
import sys
import time
from datetime import timedelta
from hashlib import blake2b, sha256
from types import SimpleNamespace
from typing import Annotated, Any
from uuid import UUID

import msgspec
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from http_message_signatures import HTTPMessageSigner, HTTPMessageVerifier
from http_message_signatures.algorithms import HMAC_SHA256
from http_message_signatures.exceptions import HTTPMessageSignaturesException
from http_message_signatures.resolvers import MappingKeyResolver
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

WINDOW_S = 60
REQUESTS_A_SECOND_MAX = 1_000_000
REQUEST_COMPONENTS = ("@method", "@target-uri", "content-digest")

PLACE = text(
    "SELECT * FROM place_bet(:operator, :transaction_id, :fingerprint, :room, :player, :picks, :stake_minor, "
    ":currency, NULL)"
)


class Bet(BaseModel):
    """A bet as a caller asks for it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    transaction_id: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,64}$")]
    player: Annotated[str, Field(min_length=1, max_length=64)]
    picks: Annotated[list[Annotated[int, Field(ge=1, le=80)]], Field(min_length=1, max_length=10)]
    stake_minor: Annotated[int, Field(ge=1)]
    currency: Annotated[str, Field(pattern=r"^[A-Z0-9]{3,8}$")]
    room: Annotated[UUID, Field(strict=False)]


class Batch(BaseModel):
    """Bets that came together."""

    bets: Annotated[list[Bet], Field(min_length=1, max_length=1_000)]


class Message:
    """A request as the library wants it."""

    def __init__(self, request: Request) -> None:
        self.method = request.method
        self.url = str(request.url)
        self.headers = {name: value for name, value in request.headers.items() if name.startswith(("sig", "content-d"))}


class Reply:
    """An answer as the library wants it, to sign it in place."""

    def __init__(self, request: Message, status: int) -> None:
        self.request = request
        self.status_code = status
        self.headers: dict[str, str] = {}


class Peer:
    """The operator that may bet, and the servers behind."""

    def __init__(
        self, operator: UUID, key_id: str, secret: bytes, database_url: str, redis_url: str, stubbed: bool
    ) -> None:
        self.operator = operator
        self.key_id = key_id
        self.stubbed = stubbed
        self.ids = itertools.count(1)
        keys = MappingKeyResolver(public_keys={key_id: secret}, private_keys={key_id: secret})
        self.signer = HTTPMessageSigner(signature_algorithm=HMAC_SHA256, key_resolver=keys)
        self.verifier = HTTPMessageVerifier(signature_algorithm=HMAC_SHA256, key_resolver=keys)
        url = database_url.replace("postgresql://", "postgresql+asyncpg://").replace("?sslmode=", "?ssl=")
        self.engine = create_async_engine(url, pool_size=8, max_overflow=0)
        self.redis = Redis.from_url(redis_url)

    async def let_in(self, request: Request, body: bytes) -> bool:
        """Whether the operator signed the request, with a new nonce, and within its limit."""
        try:
            signed = self.verifier.verify(
                Message(request), max_age=timedelta(seconds=WINDOW_S), require_components=REQUEST_COMPONENTS, body=body
            )[0]
        except HTTPMessageSignaturesException:
            return False
        second = f"peer:limit:{self.key_id}:{int(time.time())}"
        async with self.redis.pipeline(transaction=False) as pipe:
            pipe.set(f"peer:nonce:{self.key_id}:{signed.parameters['nonce']}", b"", nx=True, ex=2 * WINDOW_S)
            pipe.incr(second)
            pipe.expire(second, 2)
            new, count, _ = await pipe.execute()
        return bool(new) and count <= REQUESTS_A_SECOND_MAX

    def answer(self, request: Request, status: int, value: Any) -> Response:
        """A signed answer."""
        body = msgspec.json.encode(value)
        reply = Reply(Message(request), status)
        self.signer.sign(
            reply,
            key_id=self.key_id,
            covered_component_ids=("@status", "content-digest", '"signature";req'),
            label="keno",
            body=body,
        )
        return Response(body, status, reply.headers, media_type="application/json")

    async def stored(self, connection: AsyncConnection, bet: Bet, mask: int) -> Any:
        """The row that the database answers a bet with; a made-up one where the database is left out."""
        if self.stubbed:
            await asyncio.sleep(0)
            return _accepted(next(self.ids))
        content = f"{bet.player}|{mask}|{bet.stake_minor}|{bet.currency}|{bet.room}".encode()
        async with connection.begin():
            result = await connection.execute(
                PLACE,
                {
                    "operator": self.operator,
                    "transaction_id": bet.transaction_id,
                    "fingerprint": blake2b(content, digest_size=16).digest(),
                    "room": bet.room,
                    "player": bet.player,
                    "picks": mask.to_bytes(10, "big"),
                    "stake_minor": bet.stake_minor,
                    "currency": bet.currency,
                },
            )
            return result.one()

    async def place(self, connection: AsyncConnection, bet: Bet) -> tuple[int, dict[str, Any]]:
        """One bet in one transaction: a status and a body."""
        mask = 0
        for number in bet.picks:
            mask |= 1 << number - 1
        if mask.bit_count() != len(bet.picks):
            return 422, {"code": "invalid_picks"}
        row = await self.stored(connection, bet, mask)
        if row.outcome > 1:
            return 409, {"code": f"outcome_{row.outcome}"}
        leaf = b"".join(
            (
                bytes(16),
                row.bet_id.to_bytes(16, "big"),
                self.operator.bytes,
                row.account_hash,
                mask.to_bytes(10, "big"),
                bet.stake_minor.to_bytes(8, "big"),
                bet.currency.encode().ljust(8, b"\0"),
                row.paytable_hash,
            )
        )
        return 201, {
            "bet_id": str(row.bet_id),
            "transaction_id": bet.transaction_id,
            "round": {"id": str(row.round_id), "number": row.round_number},
            "room": str(bet.room),
            "player": bet.player,
            "picks": sorted(bet.picks),
            "stake_minor": bet.stake_minor,
            "currency": bet.currency,
            "paytable": row.paytable_hash.hex(),
            "accepted_ms": row.accepted_ms,
            "receipt": {"leaf": leaf.hex(), "leaf_hash": sha256(b"\0" + leaf).hexdigest()},
        }


def _accepted(bet_id: int) -> SimpleNamespace:
    return SimpleNamespace(
        outcome=0,
        bet_id=bet_id,
        round_id=1,
        round_number=1,
        account_hash=bytes(32),
        paytable_hash=bytes(32),
        accepted_ms=time.time_ns() // 10**6,
    )


def create_app(peer: Peer) -> FastAPI:
    """The two endpoints."""
    app = FastAPI(openapi_url=None)

    @app.post("/v1/bets")
    async def place(request: Request) -> Response:
        body = await request.body()
        if not await peer.let_in(request, body):
            return _json(401, {"code": "signature_invalid"})
        try:
            bet = Bet.model_validate_json(body)
        except ValidationError:
            return _json(422, {"code": "invalid_request"})
        async with peer.engine.connect() as connection:
            return peer.answer(request, *await peer.place(connection, bet))

    @app.post("/v1/bets/batch")
    async def place_many(request: Request) -> Response:
        body = await request.body()
        if not await peer.let_in(request, body):
            return _json(401, {"code": "signature_invalid"})
        try:
            batch = Batch.model_validate_json(body)
        except ValidationError:
            return _json(422, {"code": "invalid_request"})
        async with peer.engine.connect() as connection:
            placed = [await peer.place(connection, bet) for bet in batch.bets]
        results = [{"status": status, "bet" if status == 201 else "problem": answer} for status, answer in placed]
        return peer.answer(request, 200, {"results": results})

    return app


def _json(status: int, value: Any) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def main() -> None:
    env = os.environ
    peer = Peer(
        UUID(env["PEER_OPERATOR"]),
        env["PEER_KEY_ID"],
        bytes.fromhex(env["PEER_SECRET"]),
        env["PEER_DATABASE_URL"],
        env["PEER_REDIS_URL"],
        "PEER_STUBBED" in env,
    )
    config = uvicorn.Config(
        create_app(peer), port=int(sys.argv[1]), loop="uvloop", http="httptools", log_level="error", access_log=False
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
