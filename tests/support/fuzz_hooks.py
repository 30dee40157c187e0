"""What Schemathesis loads: signs what it sends, and puts ids that are there in place of ids that name nothing.

`KENO_FUZZ` is the JSON of a `FuzzTarget`. Loaded in a process of its own by `SCHEMATHESIS_HOOKS=support.fuzz_hooks`.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import time
from typing import Any, Final

import msgspec
import requests
import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation

from keno.identity.signature import HmacSecret, sign
from support.fuzzing import FuzzTarget

_TARGET: Final = msgspec.json.decode(os.environ["KENO_FUZZ"], type=FuzzTarget)
_KEY: Final = HmacSecret(bytes.fromhex(_TARGET.secret))
_FORM_CODES: Final = frozenset(
    {
        "malformed_json", "duplicate_field", "unknown_field", "missing_field", "invalid_request", "invalid_query",
        "invalid_picks", "invalid_amount", "bad_request", "unsupported_media_type",
    }
)  # fmt: skip
"""Codes that say that the form of a request is wrong. Others of the same status say what rules do not allow."""
_LEFT_OUT: Final = re.compile("^Missing .* at header")
"""What is said of a request that is to have no proof."""
_NO_INTEGER: Final = "got `float`"
"""2.0 is an integer to JSON Schema, and none to us: no schema can say so."""
_ONE_OF_TWO: Final = "bets"
"""Wants `player`, `round` or both: of parameters no schema can say so."""
_SPARED: Final = "staff_log_out"
"""Ends the only session that staff have here."""
_found: dict[str, list[Any]] = {name: list(values) for name, values in _TARGET.known.items()}
_FOUND_MAX: Final = 200
_token: dict[str, Any] = {"until_s": 0.0}

schemathesis.openapi.format("int64", st.integers(1, 2**63 - 1).map(str))
schemathesis.openapi.format("ip-network", st.sampled_from(["0.0.0.0/0", "127.0.0.0/8", "::/0", "203.0.113.0/24"]))
schemathesis.openapi.format("page-place", st.sampled_from(["0-0-0-0", "1763853600123-0-812-0", "1763853600123-1-9-1"]))


class _Signed(requests.auth.AuthBase):
    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        signed = sign(
            _KEY,
            _TARGET.key_id,
            method=str(request.method),
            target_uri=str(request.url),
            body=body.encode() if isinstance(body, str) else body,
            created_s=int(time.time()),
            nonce=secrets.token_urlsafe(16),
        )
        request.headers.update(signed)
        return request


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Gives the request its proof, and often ids that are there."""
    if case.meta is not None and case.meta.generation.mode.is_positive:
        _fill_in(case)
    if _is_without_proof(case):
        return
    security = {name for each in case.operation.definition.raw.get("security", ()) for name in each}
    if "signature" in security:
        kwargs["auth"] = _Signed()
    elif "accessToken" in security:
        kwargs["auth"] = _Bearer(_access_token())
    elif "staffToken" in security:
        kwargs["auth"] = _Bearer("spared" if _operation(case) == _SPARED else _TARGET.staff_token)


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Remembers ids to ask for."""
    if response.status_code >= 300:
        return
    for name, value in re.findall(
        rb'"(bet_id|next_before|session_id|ticket|refresh_token)":"([^"]+)"', response.content
    ):
        known = _found.setdefault(name.decode(), [])
        if len(known) < _FOUND_MAX:
            known.append(value.decode())


@schemathesis.check
def what_the_document_allows_is_read(ctx: Any, response: Any, case: Any) -> None:
    """A request as the document says is never refused for its form."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code < 400:
        return
    code = response.json()["code"]
    if code in _FORM_CODES and _NO_INTEGER not in response.json()["detail"]:
        raise AssertionError(f"refused as {code}: {response.json()['detail']}")


def _operation(case: Any) -> str:
    return str(case.operation.definition.raw["operationId"])


def _is_without_proof(case: Any) -> bool:
    if case.meta is None:
        return False
    headers = case.meta.components.get(ParameterLocation.HEADER)
    wrong = headers is not None and headers.mode.is_negative
    return wrong or _LEFT_OUT.search(case.meta.phase.data.description or "") is not None


def _fill_in(case: Any) -> None:
    chance = random.Random(repr((case.path_parameters, case.body)))
    for place in (case.path_parameters, case.query, case.body):
        if not isinstance(place, dict):
            continue
        for name in list(place):
            if name in _found and _found[name] and place[name] is not None and chance.random() < 0.6:
                place[name] = chance.choice(_found[name])
        if place is case.query and _operation(case) == _ONE_OF_TWO and place.keys().isdisjoint(("player", "round")):
            place["player"] = "p-2"
        if "stake_minor" in place and chance.random() < 0.6:
            place["stake_minor"] = 100


def _access_token() -> str:
    """A token of a session of the player; another session before it expires."""
    if time.monotonic() > _token["until_s"]:
        launched = _post("/v1/sessions", {"player": _TARGET.session_player, "currency": "EUR"}, _Signed())
        tokens = _post("/v1/auth/exchange", {"ticket": launched["ticket"]}, None)
        _token["access_token"], _token["until_s"] = tokens["access_token"], time.monotonic() + 600
    return str(_token["access_token"])


def _post(path: str, value: Any, auth: Any) -> Any:
    return requests.post(_TARGET.origin + path, json=value, auth=auth, timeout=10).json()
