"""What anyone may check: the public evidence of ended rounds. No login.

The auditor's form of the evidence, which shows the bets, is not served here.
"""

from __future__ import annotations

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import JSON_LINES, bytes_answer
from gateway.http import decimal_id, response
from gateway.problems import ProblemError
from keno.fairness.service import ArchivedError, EvidenceService
from keno.phrases import phrase_of, said

# Not immutable: once the round's epoch is over, the bundle also shows the epoch's key.
_CACHE_CONTROL = "public, max-age=60"


def routes(evidence: EvidenceService) -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""

    @get("/v1/rounds/{round_id:str}/evidence")
    async def bundle(round_id: FromPath[str]) -> Response[bytes]:
        try:
            found = await evidence.bundle(decimal_id(round_id, "evidence_not_found"), auditor=False)
        except ArchivedError as error:
            raise ProblemError("evidence_archived", phrase_of(error)) from error
        if found is None:
            raise ProblemError("evidence_not_found", said("round {round_id} is not settled or void", round_id=round_id))
        return response(bytes_answer(found, JSON_LINES, cache_control=_CACHE_CONTROL))

    return [bundle]
