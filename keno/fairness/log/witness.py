"""A witness of logs, as c2sp.org/tlog-witness says: it cosigns checkpoints that only add to what it cosigned before.

For operators who do not want to trust one log alone, and for tests. It needs no database: its state is a file that is
replaced, on disk, before a cosignature leaves. Not here: where its key comes from (`keno/cli_log.py`).
"""

import fcntl
import json
import os
import re
import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keno.errors import ConfigError
from keno.fairness.log import note, tree
from keno.fairness.log.note import NoteError, VerifierKey
from keno.infra import threaded_http
from keno.infra.listening import listening

BODY_BYTES_MAX: Final = 64 * 1024
_REQUEST: Final = re.compile(r"old (0|[1-9][0-9]{0,18})\n((?:[A-Za-z0-9+/]{43}=\n){0,63})\n(.+)", re.DOTALL)
_TIMEOUT_S: Final = 10


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    body: str
    media_type: str = "text/plain; charset=utf-8"


class Witness:
    """Remembers the last checkpoint that it has cosigned of each log whose key it was given."""

    def __init__(self, name: str, private: Ed25519PrivateKey, logs: Sequence[VerifierKey], state: Path) -> None:
        """Raises NoteError for a name that no key may have."""
        self._name = note.named(name)
        self._private = private
        self._logs = {key.name: key for key in logs}
        self._state = state
        self._lock = threading.Lock()

    @property
    def key(self) -> VerifierKey:
        """The key it signs with."""
        return note.witness_key(self._private, self._name)

    def add_checkpoint(self, body: bytes, at_s: int) -> Reply:
        """Answers `add-checkpoint`."""
        try:
            old, path, text, signatures = _read(body)
            head = note.parse_checkpoint(text)
        except (NoteError, UnicodeDecodeError) as error:
            return Reply(400, f"{error}\n")
        key = self._logs.get(head.origin)
        if key is None:
            return Reply(404, "this log is not known\n")
        if not any(key.made(each) and key.verifies(text, each) for each in signatures):
            return Reply(403, "no signature of the log's key\n")
        if old > head.size:
            return Reply(400, "the old size is beyond the checkpoint\n")
        with self._lock:
            refusal = self._move_on(old, path, head)
        return refusal or Reply(200, note.cosign(self._private, self._name, text, at_s).line)

    def _move_on(self, old: int, path: Sequence[bytes], head: note.Checkpoint) -> Reply | None:
        """Keeps the head if it only adds to the last one; else says why not."""
        seen = self._seen()
        size, root = seen.get(head.origin, (0, ""))
        if old != size or (old == head.size and old and head.root.hex() != root):
            return Reply(409, f"{size}\n", "text/x.tlog.size")
        if not tree.is_consistent(old, bytes.fromhex(root), head.size, head.root, path):
            return Reply(422, "the proof does not lead from the old size to the checkpoint\n")
        self._keep(seen | {head.origin: (head.size, head.root.hex())})
        return None

    def _seen(self) -> dict[str, tuple[int, str]]:
        try:
            stored = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {origin: (size, root) for origin, (size, root) in stored.items()}

    def _keep(self, seen: dict[str, tuple[int, str]]) -> None:
        fresh = self._state.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump(seen, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._state)
        folder = os.open(self._state.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _read(body: bytes) -> tuple[int, list[bytes], str, list[note.Signature]]:
    match = _REQUEST.fullmatch(body.decode())
    if match is None:
        raise NoteError("an old size, a proof, a blank line and a checkpoint")
    path = [b64decode(line) for line in match[2].split("\n")[:-1]]
    return int(match[1]), path, *note.parse_note(match[3])


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Keeps other processes off the state in a folder; raises ConfigError where one has it."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder")
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{folder}: another witness is at work here") from None
        yield


@contextmanager
def serving(witness: Witness, host: str, port: int) -> Iterator[int]:
    """Serves while the block lasts, and gives the port (0 chooses one). Raises ConfigError where it is taken."""

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_S

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            if self.path != "/add-checkpoint":
                self._answer(Reply(404, "here is /add-checkpoint\n"))
            elif not length.isdecimal() or int(length[:9]) > BODY_BYTES_MAX:
                self._answer(Reply(400, f"a body of at most {BODY_BYTES_MAX} bytes\n"))
            else:
                self._answer(witness.add_checkpoint(self.rfile.read(int(length)), int(time.time())))

        def _answer(self, reply: Reply) -> None:
            body = reply.body.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.media_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    with listening(host, port):
        server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    with threaded_http.serving(server, "witness") as served_port:
        yield served_port
