"""What the verifier says of evidence that somebody sends, for who has nothing to run it on.

It runs as an auditor runs it, in a process of its own: nothing of the server imports the verifier. Its verdict is then
the house's word, as everything that comes from here; who doubts the house runs it elsewhere (docs/verify.md).
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

import keno
from keno.errors import KenoError
from keno.phrases import said
from keno.requests import decode_as

VERIFY_S: Final = 10.0
AT_ONCE: Final = 2
WAITING_MAX: Final = 16
_NICE: Final = 10
_COMMAND: Final = ("-I", "-S", str(Path(keno.__file__).with_name("verifier.py")), "--json", "/dev/stdin")


class EvidenceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bundle of evidence: its lines, of one round or more."""

    evidence: str


_decoder = msgspec.json.Decoder(EvidenceRequest)


def decode_evidence(body: bytes) -> EvidenceRequest:
    """The request in `body`; raises RequestError."""
    return decode_as(_decoder, body)


class BusyError(KenoError):
    """So many verify already that nobody else is let in."""


class TooLongError(KenoError):
    """The evidence was not verified in time."""


class Verdicts:
    """Verifies AT_ONCE bundles at a time, behind everything else that the machine does."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def of(self, evidence: str) -> dict[str, Any]:
        """What `keno-verify --json` says of a file with this content. Raises BusyError and TooLongError."""
        if self._waiting >= WAITING_MAX:
            raise BusyError
        self._waiting += 1
        try:
            async with self._turns:
                output = await _run(evidence.encode("utf-8", "surrogatepass"))
        finally:
            self._waiting -= 1
        (file,) = msgspec.json.decode(output)["files"]
        del file["file"]
        return dict(file)


async def _run(evidence: bytes) -> bytes:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *_COMMAND, stdin=pipe, stdout=pipe, env={})
    try:
        os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
        async with asyncio.timeout(VERIFY_S):
            output, _ = await process.communicate(evidence)
    except TimeoutError:
        raise TooLongError(said("it was not verified in {seconds:g} s: run keno-verify", seconds=VERIFY_S)) from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output
