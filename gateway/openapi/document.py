"""The OpenAPI 3.1 document, made of the table of calls, the types that the decoders read with, and the problems."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from gateway.openapi.calls import CALLS, Call, Query
from gateway.openapi.forms import PATH_FORMS, SCHEMAS_REFERENCE, component_schemas, plain_schema
from gateway.problems import KINDS, PROBLEM_JSON

_BODY_CODES: Final = (
    "unsupported_media_type", "malformed_json", "duplicate_field", "unknown_field", "missing_field", "invalid_request",
)  # fmt: skip
_FIELD_CODES: Final = {"picks": "invalid_picks", "stake_minor": "invalid_stake", "amount_minor": "invalid_amount"}
_EVERY_CODES: Final = ("bad_request", "internal", "unavailable")
_READING_CODES: Final = ("body_too_slow", "body_too_large")
_ACCESS_CODES: Final[dict[str, tuple[str, ...]]] = {
    "signed": (
        *_READING_CODES, "unknown_origin", "signature_missing", "signature_malformed", "signature_expired",
        "signature_not_yet_valid", "signature_invalid", "algorithm_mismatch", "digest_mismatch", "unknown_key",
        "key_revoked", "nonce_replayed", "too_many_failures", "rate_limited", "operator_suspended",
        "address_not_allowed", "overloaded",
    ),
    "pages": (*_READING_CODES, "rate_limited", "overloaded", "unknown_origin", "origin_not_allowed"),
    "player": (
        *_READING_CODES, "rate_limited", "overloaded", "unknown_origin", "origin_not_allowed", "token_missing",
        "token_invalid", "token_expired", "session_ended",
    ),
    "staff": (
        *_READING_CODES, "rate_limited", "overloaded", "unknown_origin", "origin_not_allowed", "token_missing",
        "session_ended",
    ),
    "open": ("rate_limited",),
}  # fmt: skip
_SECURITY: Final[dict[str, list[dict[str, list[str]]]]] = {
    "signed": [{"contentDigest": [], "signatureInput": [], "signature": []}],
    "player": [{"accessToken": []}],
    "staff": [{"staffToken": []}],
    "pages": [],
    "open": [],
}
_LIVE_CODES: Final = ("not_found", "origin_not_allowed", "overloaded")
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_DESCRIPTION: Final = """\
What operators, players and everyone may call, all under one origin. Bodies are JSON in UTF-8 and read strictly: unknown
fields, fields given twice, strings for numbers and fractions are refused. Money is an integer of minor units, times
are UTC in milliseconds, ids are decimal strings or UUIDs. A retry has the same `transaction_id` and the same content.
Problems are told in the language that `Accept-Language` asks for: English, German, Spanish, Portuguese or Japanese.

Operators sign every request (RFC 9421), covering `"@method" "@target-uri" "content-digest"` in this order with
`created`, `nonce`, `keyid` and `alg`, which is `ed25519` or `hmac-sha256`. Our answers to them are signed over
`"@status" "content-digest" "signature";req`.

Three formats are ours: `int64` is a decimal integer of at most 2^63 - 1; `page-place` a `next_before` that was given;
`ip-network` a network without host bits such as `203.0.113.0/24` or `2001:db8::/32`."""


def codes_of(call: Call) -> list[str]:
    """The codes of all problems that a call can be answered with."""
    if call.status == 101:
        return list(_LIVE_CODES)
    codes = [*_EVERY_CODES, *_ACCESS_CODES[call.access], *call.codes]
    if "{" in call.path:
        codes.append("not_found")
    if ("{player}" in call.path and call.method == "POST") or "{transaction_id}" in call.path:
        codes.append("invalid_request")
    if call.query:
        codes.append("invalid_query")
    if call.body is not None:
        fields = call.body.__struct_fields__
        codes += [*_BODY_CODES, *(code for field, code in _FIELD_CODES.items() if field in fields)]
    return list(dict.fromkeys(codes))


def document() -> dict[str, Any]:
    """The document, as JSON values."""
    paths: dict[str, dict[str, Any]] = {}
    responses = _Responses()
    for call in CALLS:
        paths.setdefault(call.path, {})[call.method.lower()] = _operation(call, responses)
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {"title": "Keno", "version": "1", "description": _DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(call.tag for call in CALLS)],
        "paths": paths,
        "components": {
            "schemas": component_schemas(CALLS),
            "responses": responses.by_name,
            "headers": _HEADERS,
            "securitySchemes": _SECURITY_SCHEMES,
        },
    }


def _operation(call: Call, responses: _Responses) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": call.name,
        "tags": [call.tag],
        "summary": call.does,
        "security": _SECURITY[call.access],
        "responses": {str(call.status): _success(call)} | _problems(call, responses),
    }
    parameters = [_path_parameter(name) for name in _PARAMETER.findall(call.path)]
    parameters += [_query_parameter(query) for query in call.query]
    if parameters:
        operation["parameters"] = parameters
    if call.body is not None:
        content = {"application/json": {"schema": plain_schema(call.body)}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _path_parameter(name: str) -> dict[str, Any]:
    form = PATH_FORMS[name]
    return {"name": name, "in": "path", "required": True, "description": form.does, "schema": form.schema}


def _query_parameter(query: Query) -> dict[str, Any]:
    schema = plain_schema(query.form)
    schema |= {} if query.format is None else {"format": query.format}
    schema |= {} if query.default is None else {"default": query.default}
    return {"name": query.name, "in": "query", "required": query.required, "description": query.does, "schema": schema}


def _success(call: Call) -> dict[str, Any]:
    if call.status == 101:
        return {"description": "The connection is a WebSocket from now on."}
    names = ["Idempotent-Replayed"] if call.replayed else []
    names += _SIGNED_HEADERS if call.access == "signed" else []
    answer: dict[str, Any] = {
        "description": "Done." if call.method != "GET" else "Here it is.",
        "content": {call.media_type: {"schema": plain_schema(call.answer)}},
    }
    if call.or_media_type is not None:
        answer["content"][call.or_media_type] = {"schema": {"type": "string"}}
    return answer | _headers(names)


def _problems(call: Call, responses: _Responses) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for code in codes_of(call):
        by_status.setdefault(KINDS[code].status, []).append(code)
    return {str(status): responses.reference(status, by_status[status]) for status in sorted(by_status)}


class _Responses:
    """Problems that calls have in common stand in the document once."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}
        self._names: dict[tuple[str, ...], str] = {}

    def reference(self, status: int, codes: Sequence[str]) -> dict[str, str]:
        """The response of a status with these codes, by its name."""
        key = tuple(sorted(codes))
        if key not in self._names:
            place = sum(name.startswith(f"Problem{status}") for name in self.by_name) + 1
            self._names[key] = f"Problem{status}x{place}"
            self.by_name[self._names[key]] = _problem(status, key)
        return {"$ref": f"#/components/responses/{self._names[key]}"}


def _problem(status: int, codes: Sequence[str]) -> dict[str, Any]:
    names = ["Content-Language"] + (["WWW-Authenticate"] if status == 401 else [])
    names += ["Retry-After"] if status in (429, 503) else []
    schema = {"allOf": [{"$ref": SCHEMAS_REFERENCE + "Problem"}, {"properties": {"code": {"enum": list(codes)}}}]}
    meanings = "; ".join(f"`{code}`: {KINDS[code].title}" for code in codes)
    return {"description": meanings + ".", "content": {PROBLEM_JSON: {"schema": schema}}} | _headers(names)


def _headers(names: Iterable[str]) -> dict[str, Any]:
    references = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    return {"headers": references} if references else {}


def _header(does: str, pattern: str | None = None) -> dict[str, Any]:
    return {"description": does, "schema": {"type": "string"} | ({} if pattern is None else {"pattern": pattern})}


_SIGNED_HEADERS: Final = ["Content-Digest", "Signature-Input", "Signature", "RateLimit", "RateLimit-Policy"]
_HEADERS: Final[dict[str, Any]] = {
    "Content-Language": _header("The language of `title`, `detail` and `remedy`.", "^(en|de|es|pt|ja)$"),
    "Content-Digest": _header("RFC 9530, of the answer's bytes.", "^sha-256=:[A-Za-z0-9+/]{43}=:$"),
    "Signature-Input": _header('Ours, over `"@status" "content-digest" "signature";req`.', "^keno="),
    "Signature": _header("Ours: with your shared secret, or with our key of `/.well-known/jwks.json`.", "^keno=:"),
    "RateLimit": _header(
        "What may be sent now, and the seconds until the bucket is full. Absent while Redis is away.",
        '^"bets";r=[0-9]+;t=[0-9]+$',
    ),
    "RateLimit-Policy": _header("How much the bucket holds, in seconds of its rate.", '^"bets";q=[0-9]+;w=[0-9]+$'),
    "Idempotent-Replayed": _header("`true` where this was done before, under the same id.", "^true$"),
    "Retry-After": _header("Seconds after which to try again.", "^[0-9]+$"),
    "WWW-Authenticate": _header("What is wanting.", '^(Signature|Bearer) realm="keno"$'),
}


def _in_header(name: str, does: str) -> dict[str, Any]:
    return {"type": "apiKey", "in": "header", "name": name, "description": does}


_SECURITY_SCHEMES: Final = {
    "contentDigest": _in_header(
        "Content-Digest", "RFC 9530: `sha-256=:BASE64:` of the body's bytes, and nothing else."
    ),
    "signatureInput": _in_header(
        "Signature-Input",
        'RFC 9421: `sig=("@method" "@target-uri" "content-digest");created=...;nonce="...";keyid="...";alg="..."`.',
    ),
    "signature": _in_header("Signature", "RFC 9421: `sig=:BASE64:` of the signature base."),
    "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "Of a player's session."},
    "staffToken": {"type": "http", "scheme": "bearer", "description": "Of a session of staff."},
}


def encoded() -> bytes:
    """The document as it is served and published."""
    return msgspec.json.format(msgspec.json.encode(document()), indent=1) + b"\n"
