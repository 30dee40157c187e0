"""Where bets are handed in: what every server of bets does with a request, from its bytes to the bytes of the answer.

A server reads the body, within `Capacity` and the call's limit, and sends the answer as it is; the rest is here, so
that no two servers can differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from gateway.answers import Answer
from gateway.auth.entrance import Entrance, ValuesOf
from gateway.bodies import require_json
from gateway.failing import answer_to
from gateway.placing import Asked, BetCall
from gateway.problems import ProblemError
from keno.bets.service import BetService
from keno.errors import KenoError
from keno.texts.service import Texts

REQUESTS_MAX: Final = 2_000
BODIES_BYTES_MAX: Final = 128 * 1024 * 1024


class Capacity:
    """How many requests and bytes of bodies may be under way in a process; more are refused at once as overloaded."""

    def __init__(self, requests_max: int = REQUESTS_MAX, bytes_max: int = BODIES_BYTES_MAX) -> None:
        self._requests = requests_max
        self._bytes = bytes_max

    def take(self, body_bytes: int) -> None:
        """Counts a request in before its body is read. Raises ProblemError `overloaded`."""
        if self._requests < 1 or self._bytes < body_bytes:
            raise ProblemError("overloaded", "too many requests are under way")
        self._requests -= 1
        self._bytes -= body_bytes

    def give_back(self, body_bytes: int) -> None:
        """Counts it out, once it has ended."""
        self._requests += 1
        self._bytes += body_bytes

    @contextmanager
    def held(self, body_bytes: int) -> Iterator[None]:
        """Counts a request in, and out at the end. Raises ProblemError `overloaded`."""
        self.take(body_bytes)
        try:
            yield
        finally:
            self.give_back(body_bytes)


class Desk:
    """Answers bets."""

    def __init__(self, entrance: Entrance, bets: BetService, texts: Texts, capacity: Capacity) -> None:
        self._entrance = entrance
        self._bets = bets
        self.texts = texts
        self.capacity = capacity

    async def answer(self, call: BetCall, target: str, values_of: ValuesOf, body: bytes, peer: str) -> Answer:
        """The answer to a POST of `call`, whatever happens. The arguments are those of `Entrance.verify`.

        Bad requests of an operator cost like good ones, or they could be sent without end.
        """
        passage = self._entrance.passage()
        language = self.texts.for_header(values_of("accept-language"))
        try:
            verified = await self._entrance.verify(passage, "POST", target, values_of, body, peer)
            asked = _read(call, values_of("content-type"), body)
            await self._entrance.admit(passage, 1 if isinstance(asked, KenoError) else len(asked))
            if isinstance(asked, KenoError):
                raise asked
            answer = await call.place(self._bets, verified.key.operator.id, asked, language)
        except Exception as error:  # noqa: BLE001 - the edge: every failure has an answer
            answer = answer_to(error, "POST", call.path, language)
        try:
            return passage.finish(answer)
        except Exception as error:  # noqa: BLE001 - the edge, too: an answer that can't be signed is a failure
            return answer_to(error, "POST", call.path, language)


def _read(call: BetCall, content_types: Sequence[str], body: bytes) -> Asked | KenoError:
    try:
        require_json(content_types[0] if len(content_types) == 1 else None)
        return call.read(body)
    except KenoError as error:
        return error
