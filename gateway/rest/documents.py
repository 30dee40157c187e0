"""Published documents by their hash, byte for byte. No login: who has a hash can check what it stands for."""

from __future__ import annotations

from typing import Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import JSON, bytes_answer
from gateway.http import hash_id, response
from gateway.problems import ProblemError
from keno.phrases import said
from keno.rounds.documents import Documents

# What a hash names can never change.
_CACHE_CONTROL: Final = "public, max-age=31536000, immutable"


def routes(documents: Documents) -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""

    @get("/v1/paytables/{digest:str}")
    async def paytable(digest: FromPath[str]) -> Response[bytes]:
        return _document(digest, await documents.paytable(hash_id(digest, "document_not_found")))

    @get("/v1/rules/{digest:str}")
    async def rules(digest: FromPath[str]) -> Response[bytes]:
        return _document(digest, await documents.rules(hash_id(digest, "document_not_found")))

    return [paytable, rules]


def _document(digest: str, document: bytes | None) -> Response[bytes]:
    if document is None:
        raise ProblemError(
            "document_not_found", said("no published document of this kind has the hash {digest}", digest=digest)
        )
    return response(bytes_answer(document, JSON, cache_control=_CACHE_CONTROL))
