"""Asks the configured witnesses to cosign a checkpoint, as c2sp.org/tlog-witness says.

A witness that is away, slow or of another opinion costs its cosignature and nothing else. What it answers is believed
only if its key, which the configuration names, has signed.
"""

import asyncio
import base64
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from keno.errors import ConfigError
from keno.fairness.log import note
from keno.fairness.log.note import Checkpoint, NoteError, Signature, VerifierKey

TIMEOUT_S: Final = 5.0
_ANSWER_BYTES_MAX: Final = 64 * 1024

Proof = Callable[[int, int], Awaitable[list[bytes]]]
"""Gives the consistency path from one size to another."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness: where it is asked, and the key it signs with."""

    url: str
    key: VerifierKey


class Witnesses:
    """The witnesses of the configuration, asked all at once."""

    def __init__(self, witnesses: Sequence[Witness], timeout_s: float = TIMEOUT_S) -> None:
        self._witnesses = witnesses
        self._timeout_s = timeout_s
        self._sizes = dict.fromkeys((each.key for each in witnesses), 0)

    async def cosign(self, checkpoint: Checkpoint, signed: Signature, proof: Proof) -> list[Signature]:
        """The cosignatures that the witnesses give in time, in the order of the configuration."""
        asked = [self._ask(each, checkpoint, signed, proof) for each in self._witnesses]
        return [each for each in await asyncio.gather(*asked) if each is not None]

    async def _ask(self, witness: Witness, head: Checkpoint, signed: Signature, proof: Proof) -> Signature | None:
        text = note.note(head.body, signed)
        # The witness says from where it goes on, if that is not where we think.
        for _ in range(2):
            known = self._sizes[witness.key]
            if known > head.size:
                _log.warning("witness.ahead", witness=witness.key.name, size=head.size, witnessed=known)
                # It has seen the work of another worker, or of a log that we are not.
                self._sizes[witness.key] = 0
                return None
            lines = [base64.b64encode(each).decode() + "\n" for each in await proof(known, head.size)]
            body = f"old {known}\n{''.join(lines)}\n{text}".encode()
            try:
                status, answer = await asyncio.to_thread(_post, f"{witness.url}/add-checkpoint", body, self._timeout_s)
            except (OSError, ValueError) as error:
                _log.warning("witness.unreachable", witness=witness.key.name, error=str(error))
                return None
            if status != 409 or (size := _size(answer)) is None or size == known:
                return self._read(witness, head, status, answer)
            self._sizes[witness.key] = size
        return None

    def _read(self, witness: Witness, head: Checkpoint, status: int, answer: bytes) -> Signature | None:
        try:
            lines = note.parse_signatures(answer.decode()) if status == 200 else []
        except (NoteError, UnicodeDecodeError):
            lines = []
        for line in lines:
            if witness.key.made(line) and witness.key.verifies(head.body, line):
                self._sizes[witness.key] = head.size
                return line
        _log.warning("witness.refused", witness=witness.key.name, size=head.size, status=status)
        return None


def parse_witnesses(text: str) -> tuple[Witness, ...]:
    """Witnesses from a configuration: "URL KEY", separated by commas. Raises ConfigError."""
    found = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        url, _, key = each.partition(" ")
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"KENO_LOG_WITNESSES: {url!r} does not begin as https://witness.example")
        try:
            parsed = VerifierKey.parse(key.strip())
        except NoteError as error:
            raise ConfigError(f"KENO_LOG_WITNESSES: {error}") from None
        if parsed.kind != note.COSIGNATURE_V1:
            raise ConfigError(f"KENO_LOG_WITNESSES: the key of {parsed.name} is not a witness's")
        found.append(Witness(url.rstrip("/"), parsed))
    if len({each.key.name for each in found}) != len(found):
        raise ConfigError("KENO_LOG_WITNESSES names a witness twice")
    return tuple(found)


def _post(url: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, {"Content-Type": "text/plain; charset=utf-8"}, method="POST")  # noqa: S310 - parse_witnesses has checked it
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return answer.status, answer.read(_ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(_ANSWER_BYTES_MAX)


def _size(answer: bytes) -> int | None:
    text = answer.strip()
    return int(text) if text.isdigit() and len(text) < 20 else None
