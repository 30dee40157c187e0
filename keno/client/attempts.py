"""Sends a request until it is answered, and reads the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx
import msgspec

from keno.client.errors import Refused, Unanswered, UnknownAnswer
from keno.shapes import ProblemDetails

PAUSE_MAX_S: Final = 10.0
_PAUSE_S: Final = 0.2

_T = TypeVar("_T")


def pause_s(attempt: int) -> float:
    """How long to wait after the attempt of this number, from 0 on."""
    # Far beyond the greatest pause: the power of an attempt a thousand later is no float.
    return float(min(_PAUSE_S * 2 ** min(attempt, 64), PAUSE_MAX_S))


async def answered(send: Callable[[], Awaitable[httpx.Response]], attempts: int, what: str) -> httpx.Response:
    """The first answer that is none of a failure of the server or a limit of rates. Raises Unanswered."""
    reason = ""
    for attempt in range(attempts):
        try:
            answer = await send()
        except httpx.RequestError as error:
            reason, wait_s = repr(error), pause_s(attempt)
        else:
            if answer.status_code < 500 and answer.status_code != 429:
                return answer
            reason, wait_s = answer.text, _asked_pause_s(answer, attempt)
        if attempt + 1 < attempts:
            await asyncio.sleep(min(wait_s, PAUSE_MAX_S))
    raise Unanswered(f"{attempts} attempts at {what}: {reason}")


def read(form: type[_T], answer: httpx.Response) -> _T:
    """What an answer says. Raises Refused, Unanswered where it is of something on the way, and UnknownAnswer."""
    status = answer.status_code
    try:
        if status >= 300:
            raise Refused(msgspec.json.decode(answer.content, type=ProblemDetails))
        return msgspec.json.decode(answer.content, type=form)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # The server answers in JSON and with problems; proxies and portals, with pages.
        if status >= 300 or not isinstance(error, msgspec.ValidationError):
            raise Unanswered(f"{status}, which is no answer of the server: {error}") from error
        raise UnknownAnswer(f"{status}, which is no {form}: {error}") from error


def text(answer: httpx.Response, media_type: str) -> str:
    """An answer as text of this type. Raises Refused, and Unanswered where it is of something on the way."""
    if answer.status_code >= 300:
        read(ProblemDetails, answer)
    if answer.headers.get("content-type", "").partition(";")[0] != media_type:
        raise Unanswered(f"{answer.status_code}, which is no {media_type}")
    return answer.text


def _asked_pause_s(answer: httpx.Response, attempt: int) -> float:
    asked = answer.headers.get("retry-after", "")
    return float(asked) if asked.isdecimal() else pause_s(attempt)
