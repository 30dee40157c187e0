"""The way in for a signed request, the same on every server: who signed it, may it come in, and the signed answer.

What a server knows of a request comes as plain values; no web framework is known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from gateway.answers import Answer
from gateway.auth.origins import Origins
from gateway.problems import ProblemError
from keno.identity.admission import AdmissionError
from keno.identity.networks import Address, AddressNotAllowedError, address_of, is_allowed, spelled
from keno.identity.operators import Operator
from keno.identity.responses import ResponseKey
from keno.identity.service import AuthenticationError, IdentityService, Verified
from keno.identity.signature import SignatureError
from keno.phrases import said
from keno.risk import rates
from keno.risk.failures import Failures
from keno.risk.rates import Standing

ValuesOf = Callable[[str], Sequence[str]]
"""The values of a header by its lower-case name, one a field line, latin-1 where not ASCII."""


class Passage:
    """How far a request has come: what is known of it when it is answered."""

    __slots__ = ("_response_key", "standing", "verified")

    def __init__(self, response_key: ResponseKey) -> None:
        self._response_key = response_key
        self.verified: Verified | None = None
        self.standing: Standing | None = None

    def finish(self, answer: Answer) -> Answer:
        """The answer with what only the way in knows: how the operator's rate stands, and our signature."""
        verified = self.verified
        if verified is None:
            return answer
        if self.standing is not None:
            answer.headers.update(rates.headers(("bets", verified.key.operator.rate, self.standing)))
        now_s = time.time_ns() // 1_000_000_000
        answer.headers.update(
            self._response_key.sign(answer.status, answer.body, verified.signed.field, verified.key, now_s)
        )
        return answer


class Entrance:
    """`proxies_count` is how many proxies stand in front and append to X-Forwarded-For."""

    def __init__(self, identity: IdentityService, origins: Origins, proxies_count: int) -> None:
        self._identity = identity
        self._origins = origins
        self._proxies_count = proxies_count
        self._failures = Failures()

    def passage(self) -> Passage:
        """A request that has just come."""
        return Passage(self._identity.response_key)

    async def verify(
        self, passage: Passage, method: str, target: str, values_of: ValuesOf, body: bytes, peer: str
    ) -> Verified:
        """Who signed the request. `target` is path and query as received, `peer` the address that it came from.

        Raises the coded errors of `IdentityService.verify` and `Origins.target_uri`, AddressNotAllowedError, and
        ProblemError `too_many_failures` for an address that has sent too many requests which nobody signed.
        """
        now_ms = time.time_ns() // 1_000_000
        address, sender = self.caller(peer, values_of)
        if wait_ms := self._failures.wait_ms(sender, now_ms):
            detail = "too many requests of this address were not signed as they must be"
            raise ProblemError("too_many_failures", detail, retry_after_s=-(-wait_ms // 1_000))
        target_uri = self._origins.target_uri(values_of("host"), target)
        try:
            passage.verified = await self._identity.verify(method, target_uri, values_of, body, now_ms)
        except (SignatureError, AuthenticationError):
            self._failures.failed(sender, now_ms)
            raise
        # After the signature: before it, anybody could ask from where an operator calls.
        require_allowed(passage.verified.key.operator, address)
        return passage.verified

    async def admit(self, passage: Passage, cost: int, *, closed: bool = True) -> None:
        """Lets a verified request in. What is not `closed` comes in without Redis too: neither counted nor once only.

        Raises AuthenticationError `nonce_replayed`, AdmissionError, and ProblemError `rate_limited`.
        """
        verified = passage.verified
        assert verified is not None  # noqa: S101 - the order of calls
        try:
            admission = await self._identity.admit(verified, cost)
        except AdmissionError as error:
            if closed or error.overloaded:
                raise
            return
        if admission.replayed:
            raise AuthenticationError("nonce_replayed", "this nonce was used with this key before")
        passage.standing = admission.standing
        if admission.limited:
            raise ProblemError(
                "rate_limited",
                said(
                    "this request costs {cost}, of {per_second}/s",
                    cost=cost,
                    per_second=verified.key.operator.rate.per_second,
                ),
            )

    def caller(self, peer: str, values_of: ValuesOf) -> tuple[Address | None, str]:
        """The address that a request comes from, as far as the proxies in front can be trusted, and its sender."""
        return _caller(spelled(peer, values_of("x-forwarded-for"), self._proxies_count), peer)


def require_allowed(operator: Operator, address: Address | None) -> None:
    """Raises AddressNotAllowedError where the operator does not call from this address."""
    if not is_allowed(operator.networks, address):
        if address is None:
            raise AddressNotAllowedError(said("{name} does not call from an unknown address", name=operator.name))
        raise AddressNotAllowedError(said("{name} does not call from {address}", name=operator.name, address=address))


@lru_cache(4_096)
def sender_of(address: Address | None, peer: str) -> str:
    """Whom failures of a request count for: an address, or a network where each sender has one.

    Where the address cannot be told, it is the other end of the connection, `peer`.
    """
    if address is None:
        return peer
    # Whoever has one address of IPv6 has a network of 2^64 of them.
    return str(IPv6Network((int(address), 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


# By the text: an address takes longer to hash and compare than the rest of the way in.
@lru_cache(4_096)
def _caller(text: str, peer: str) -> tuple[Address | None, str]:
    address = address_of(text)
    return address, sender_of(address, peer)
