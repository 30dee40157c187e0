"""What anyone may check: the public evidence of ended rounds, what it proves, and the commitments of any. No login.

The auditor's form of the evidence, which shows the bets, is not served here.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import JSON_LINES, bytes_answer, json_answer
from gateway.auth.exchange import OpenRequest
from gateway.auth.guard import read_body
from gateway.bodies import require_json
from gateway.http import decimal_id, response
from gateway.problems import BATCH_BODY_BYTES_MAX, ProblemError
from keno.fairness.evidence import PublishedEpoch
from keno.fairness.service import ArchivedError, EvidenceService
from keno.fairness.verdicts import BusyError, EvidenceRequest, TooLongError, Verdicts, decode_evidence
from keno.phrases import phrase_of, said
from keno.requests import quoted_fields, refuse_repeated_fields

# Not immutable: once the round's epoch is over, the bundle also shows the epoch's key.
_CACHE_CONTROL: Final = "public, max-age=60"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_HASH_BYTES: Final = 32
_VERIFY_FIELDS: Final = quoted_fields(EvidenceRequest)


def routes(evidence: EvidenceService) -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""
    verdicts = Verdicts()

    @get("/v1/rounds/{round_id:str}/evidence")
    async def bundle(round_id: FromPath[str]) -> Response[bytes]:
        try:
            found = await evidence.bundle(decimal_id(round_id, "evidence_not_found"), auditor=False)
        except ArchivedError as error:
            raise ProblemError("evidence_archived", phrase_of(error)) from error
        if found is None:
            raise ProblemError("evidence_not_found", said("round {round_id} is not settled or void", round_id=round_id))
        return response(bytes_answer(found, JSON_LINES, cache_control=_CACHE_CONTROL))

    @get("/v1/fairness/epochs/{round_id:str}")
    async def epoch(round_id: FromPath[str]) -> Response[bytes]:
        found = await evidence.epoch(decimal_id(round_id, "round_not_found"))
        if found is None:
            raise ProblemError("round_not_found", said("there is no round {round_id}", round_id=round_id))
        # With its key nothing is left to be added.
        cached = _CACHE_CONTROL if found.key is None else _FOR_GOOD
        return response(json_answer(_epoch(found), headers={"Cache-Control": cached}))

    @post("/v1/fairness/verify", status_code=200, request_max_body_size=BATCH_BODY_BYTES_MAX)
    async def verify(request: OpenRequest) -> Response[bytes]:
        require_json(request.headers.get("content-type"))
        body = await read_body(request)
        asked = decode_evidence(body)
        refuse_repeated_fields(body, _VERIFY_FIELDS)
        try:
            return response(json_answer(await verdicts.of(asked.evidence)))
        except BusyError as error:
            raise ProblemError("overloaded", "too many verify at the moment") from error
        except TooLongError as error:
            raise ProblemError("invalid_request", phrase_of(error), "evidence") from error

    return [bundle, epoch, verify]


def _epoch(epoch: PublishedEpoch) -> dict[str, Any]:
    commits = [epoch.commits[at : at + _HASH_BYTES].hex() for at in range(0, len(epoch.commits), _HASH_BYTES)]
    return {
        "room": str(UUID(bytes=epoch.room)),
        "first": epoch.first,
        "count": len(commits),
        "opened_ms": epoch.opened_ms,
        "epoch": epoch.hash.hex(),
        "key_commit": epoch.key_commit.hex(),
        "commits_root": epoch.commits_root.hex(),
        "commits": commits,
        "epoch_key": None if epoch.key is None else epoch.key.hex(),
    }
