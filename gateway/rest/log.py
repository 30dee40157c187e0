"""The public log: checkpoint and tiles as c2sp.org/tlog-tiles has them, and ready-made proofs as JSON. No login.

What is served under /log/tile can never change and may be cached for good; the checkpoint is a second old at most.
"""

from __future__ import annotations

import re
from typing import Any, Final

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import Answer, bytes_answer, json_answer
from gateway.http import decimal_id, query_of, response
from gateway.problems import ProblemError
from keno.fairness.anchor.service import AnchorService
from keno.fairness.anchor.store import ConfirmedAnchor
from keno.fairness.log.service import LogService, Proof
from keno.fairness.log.tree import TILE_HASHES
from keno.phrases import said
from keno.requests import ID_MAX

_TILE: Final = re.compile(r"/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,17}")
_TEXT: Final = "text/plain"  # the framework adds the charset
_BYTES: Final = "application/octet-stream"
_FOR_GOOD: Final = "public, max-age=31536000, immutable"
_FRESH: Final = "public, max-age=1"


def routes(log: LogService, anchors: AnchorService) -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""
    return [*_tlog(log), *_proofs(log), *_anchors(anchors)]


def _tlog(log: LogService) -> list[HTTPRouteHandler]:

    @get("/log/checkpoint")
    async def checkpoint() -> Response[bytes]:
        found = await log.checkpoint()
        if found is None:
            raise ProblemError("log_not_found", "the log has no checkpoint yet")
        return response(bytes_answer(found.note.encode(), _TEXT, cache_control=_FRESH))

    @get("/log/tile/{rest:path}")
    async def tile(rest: FromPath[str]) -> Response[bytes]:
        level, index, width = _tile(rest)
        found = await (log.entry_bundle(index, width) if level is None else log.tile(level, index, width))
        if found is None:
            raise ProblemError("log_not_found", "no checkpoint covers this tile")
        return response(bytes_answer(found, _BYTES, cache_control=_FOR_GOOD))

    return [checkpoint, tile]


def _proofs(log: LogService) -> list[HTTPRouteHandler]:
    @get("/v1/fairness/log")
    async def head() -> Response[bytes]:
        newest = await log.checkpoint()
        if newest is None:
            raise ProblemError("log_not_found", "the log has no checkpoint yet")
        stated = {"key": await log.key(), "size": newest.size, "root": newest.root.hex(), "checkpoint": newest.note}
        return response(json_answer(stated, headers={"Cache-Control": _FRESH}))

    @get("/v1/fairness/log/rounds/{round_id:str}")
    async def of_round(round_id: FromPath[str]) -> Response[bytes]:
        found = await log.round_proof(decimal_id(round_id, "log_not_found"))
        return response(_proof(found, said("nothing of round {round_id} is in the log yet", round_id=round_id)))

    @get("/v1/fairness/log/entries/{index:str}")
    async def of_entry(index: FromPath[str]) -> Response[bytes]:
        if _INDEX.fullmatch(index) is None:
            raise ProblemError("log_not_found", "an index is a decimal integer from 0 on")
        return response(
            _proof(await log.entry_proof(int(index)), said("the log has no entry {index} yet", index=index))
        )

    @get("/v1/fairness/log/consistency")
    async def consistency(request: Request[Any, Any, Any]) -> Response[bytes]:
        first, second = _sizes(request)
        path = await log.consistency(first, second)
        if path is None:
            raise ProblemError("log_not_found", said("no checkpoint covers {second} entries", second=second))
        stated = {"first": first, "second": second, "path": [each.hex() for each in path]}
        return response(json_answer(stated, headers={"Cache-Control": _FOR_GOOD}))

    return [head, of_round, of_entry, consistency]


def _anchors(anchors: AnchorService) -> list[HTTPRouteHandler]:
    @get("/v1/fairness/log/anchors")
    async def newest() -> Response[bytes]:
        found = await anchors.newest()
        if found is None:
            raise ProblemError("log_not_found", "the log is not anchored yet")
        return response(json_answer(_anchor(found), headers={"Cache-Control": _FRESH}))

    @get("/v1/fairness/log/anchors/{size:str}")
    async def covering(size: FromPath[str]) -> Response[bytes]:
        found = await anchors.covering(decimal_id(size, "log_not_found"))
        if found is None:
            raise ProblemError("log_not_found", said("no anchor covers {size} entries yet", size=size))
        proof = {"first": found.size, "path": [each.hex() for each in found.path]}
        return response(json_answer(_anchor(found.anchor) | proof, headers={"Cache-Control": _FRESH}))

    return [newest, covering]


def _anchor(anchor: ConfirmedAnchor) -> dict[str, Any]:
    return {
        "chain_id": anchor.where.chain_id,
        "contract": f"0x{anchor.where.contract.hex()}",
        "transaction": f"0x{anchor.transaction_hash.hex()}",
        "block": anchor.block_number,
        "size": anchor.size,
        "root": anchor.root.hex(),
    }


def _sizes(request: Request[Any, Any, Any]) -> tuple[int, int]:
    asked = query_of(request, {"first": (1, ID_MAX), "second": (1, ID_MAX)})
    if asked.keys() != {"first", "second"}:
        raise ProblemError("invalid_query", "first and second are the two sizes, from 1 on")
    if asked["first"] > asked["second"]:
        raise ProblemError("log_not_found", "a log only grows: first is no larger than second", "first")
    return asked["first"], asked["second"]


def _tile(path: str) -> tuple[int | None, int, int]:
    """Level (None: entries), index and width that a path names; ProblemError for one that names no tile."""
    match = _TILE.fullmatch(path)
    if match is None:
        raise ProblemError(
            "log_not_found", "a tile is named LEVEL/INDEX or LEVEL/INDEX.p/WIDTH, as C2SP tlog-tiles says"
        )
    level, index, width = match.groups()
    digits = index.replace("/", "").replace("x", "")
    if index.startswith("x000/") or (width is not None and int(width) >= TILE_HASHES):
        raise ProblemError("log_not_found", "no leading zero groups, and a partial tile is 1 to 255 wide")
    return (None if level == "entries" else int(level)), int(digits), TILE_HASHES if width is None else int(width)


def _proof(found: Proof | None, otherwise: str) -> Answer:
    if found is None:
        raise ProblemError("log_not_found", otherwise)
    entries = [
        {
            "index": each.index,
            "kind": each.kind.name.lower(),
            "entry": each.data.hex(),
            "path": [digest.hex() for digest in each.path],
        }
        for each in found.entries
    ]
    return json_answer({"checkpoint": found.checkpoint.note, "entries": entries}, headers={"Cache-Control": _FRESH})
