"""Asks drand's HTTP endpoints for beacons, and believes none of them.

Endpoints are asked one after the other, the next as soon as one fails or has not answered for a moment; the first
answer that verifies counts. One that lies (a signature that does not verify, another round, another chain, no answer of
drand's) is reported and asked last from then on. Answers are bounded in size and time, redirects are not followed. Not
here: when to ask, and where beacons are kept (`keno.fairness.beacons.keeper`).
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import httpx
import msgspec
import structlog
from prometheus_client import Counter

from keno.fairness.beacon import SCHEME, Chain

TIMEOUT_S = 3.0
HEDGE_S = 0.4
_ANSWER_BYTES_MAX = 4_096
_NOT_YET = (httpx.codes.NOT_FOUND, httpx.codes.TOO_EARLY)

FAULTS = Counter("keno_beacon_endpoint_faults", "What an endpoint of a beacon did wrong.", ["endpoint", "fault"])
_log = structlog.get_logger(__name__)
_T = TypeVar("_T")


class Answer(msgspec.Struct, frozen=True):
    """A beacon as drand's HTTP shows it. `signature` is hex."""

    round: int
    signature: str


class Info(msgspec.Struct, frozen=True):
    """A chain as drand's HTTP shows it."""

    public_key: str
    period: int
    genesis_time: int
    hash: str
    groupHash: str  # noqa: N815 - drand's name
    schemeID: str  # noqa: N815 - drand's name


class _FaultError(Exception):
    """The endpoint is of no use for this question. `lies` says that it answered, and wrongly."""

    def __init__(self, fault: str, detail: str, *, lies: bool = False) -> None:
        super().__init__(detail)
        self.fault = fault
        self.lies = lies


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest beacon of an endpoint, verified."""

    beacon_round: int
    signature: bytes


class DrandClient:
    """Fetches verified beacons of one chain. Use as an async context manager."""

    def __init__(
        self, chain: Chain, urls: Sequence[str], *, timeout_s: float = TIMEOUT_S, hedge_s: float = HEDGE_S
    ) -> None:
        """`urls` are endpoints without the chain's hash, the preferred first."""
        self.chain = chain
        self._urls = list(urls)
        self._timeout_s = timeout_s
        self._hedge_s = hedge_s
        # The environment's proxies and certificates are the business of keno/config.py alone.
        self._http = httpx.AsyncClient(
            timeout=timeout_s, follow_redirects=False, trust_env=False, verify=ssl.create_default_context()
        )

    async def __aenter__(self) -> "DrandClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def fetch(self, beacon_round: int) -> bytes | None:
        """The signature of a round, verified; None where no endpoint has it, or none can be believed."""
        asking: dict[asyncio.Task[bytes], str] = {}
        left = list(self._urls)
        try:
            while left or asking:
                if left:
                    url = left.pop(0)
                    asking[asyncio.create_task(self._verified(url, beacon_round))] = url
                done, _ = await asyncio.wait(
                    asking, timeout=self._hedge_s if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    url = asking.pop(task)
                    try:
                        return task.result()
                    except _FaultError as fault:
                        self._report(url, fault)
            return None
        finally:
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)

    async def latest(self, url: str) -> Latest | None:
        """The newest beacon of one endpoint, verified; None where it has none, or cannot be believed."""
        try:
            answer = await self._answer(url, "latest")
            return Latest(answer.round, self._checked(answer, answer.round))
        except _FaultError as fault:
            self._report(url, fault)
            return None

    async def serves_the_chain(self, url: str) -> bool:
        """Whether an endpoint says that it serves this chain."""
        try:
            info = await self._get(url, "info", Info)
        except _FaultError as fault:
            self._report(url, fault)
            return False
        chain = self.chain
        same = info == Info(
            public_key=chain.public_key.hex(),
            period=chain.period_s,
            genesis_time=chain.genesis_s,
            hash=chain.hash.hex(),
            groupHash=chain.group_hash.hex(),
            schemeID=SCHEME,
        )
        if not same:
            self._report(url, _FaultError("another chain", "it describes another chain", lies=True))
        return same

    async def _verified(self, url: str, beacon_round: int) -> bytes:
        answer = await self._answer(url, str(beacon_round))
        if answer.round != beacon_round:
            raise _FaultError("another round", f"asked for {beacon_round}, it gave {answer.round}", lies=True)
        return self._checked(answer, beacon_round)

    async def _answer(self, url: str, what: str) -> Answer:
        return await self._get(url, f"public/{what}", Answer)

    def _checked(self, answer: Answer, beacon_round: int) -> bytes:
        try:
            signature = bytes.fromhex(answer.signature)
        except ValueError:
            raise _FaultError("malformed", "the signature is not hex", lies=True) from None
        if not 0 < beacon_round < 2**63 or not self.chain.verifies(beacon_round, signature):
            raise _FaultError("wrong signature", f"round {beacon_round} does not verify", lies=True)
        return signature

    async def _get(self, url: str, path: str, kind: type[_T]) -> _T:
        try:
            async with asyncio.timeout(self._timeout_s):
                content = await self._read(f"{url}/{self.chain.hash.hex()}/{path}")
        except TimeoutError:
            raise _FaultError("timeout", f"no answer within {self._timeout_s} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise _FaultError("unreachable", f"{type(error).__name__}: {error}") from None
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _FaultError("malformed", str(error), lies=True) from None

    async def _read(self, url: str) -> bytes:
        content = b""
        async with self._http.stream("GET", url, headers={"accept": "application/json"}) as answer:
            if answer.status_code in _NOT_YET:
                raise _FaultError("not there", f"status {answer.status_code}")
            if answer.status_code != httpx.codes.OK:
                raise _FaultError("refused", f"status {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > _ANSWER_BYTES_MAX:
                    raise _FaultError("malformed", f"more than {_ANSWER_BYTES_MAX} bytes", lies=True)
        return content

    def _report(self, url: str, fault: _FaultError) -> None:
        if fault.fault == "not there":
            return
        FAULTS.labels(url, fault.fault).inc()
        say = _log.error if fault.lies else _log.warning
        say("beacon.endpoint_fault", endpoint=url, chain=self.chain.name, fault=fault.fault, detail=str(fault))
        if fault.lies and url in self._urls:
            self._urls.remove(url)
            self._urls.append(url)
