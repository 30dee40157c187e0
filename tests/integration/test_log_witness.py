"""Witnesses cosign what only grows, and remember it; a log gets their signatures, and goes on without them."""

import base64
import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.logs import FakeLog
from support.rounds import Hall
from support.transparency import Note, check_signed, proof

from keno.errors import ConfigError
from keno.fairness.log.note import VerifierKey
from keno.fairness.log.sequencer import LogKeys, Sequencer
from keno.fairness.log.witness import Witness, holding, serving
from keno.fairness.log.witnesses import Witnesses, parse_witnesses

LEAVES = [b"entry %d" % n for n in range(40)]
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32)
NAME = "w.test/1"


def witness_of(*logs: str, folder: Path) -> Witness:
    return Witness(NAME, PRIVATE, [VerifierKey.parse(each) for each in logs], folder / "seen.json")


def request(old: int, log: FakeLog, path: list[bytes] | None = None) -> bytes:
    path = proof(old, log.entries) if path is None and 0 < old <= len(log.entries) else path or []
    lines = b"".join(base64.b64encode(each) + b"\n" for each in path)
    return b"old %d\n" % old + lines + b"\n" + log.checkpoint()


def test_a_log_that_grows_is_cosigned_at_every_size(tmp_path: Path) -> None:
    log, old = FakeLog(LEAVES), 0
    witness = witness_of(log.vkey, folder=tmp_path)
    for size in (1, 2, 3, 7, 7, 8, 21, 40):
        grown = FakeLog(LEAVES[:size])
        status, lines, _ = witness.add_checkpoint(request(old, grown), 1_800_000_000)
        assert status == 200, (old, size)
        check_signed(Note.read(grown.checkpoint() + lines.encode()), witness.key.text)
        old = size


def test_each_refusal_has_the_status_of_the_specification_and_changes_nothing(tmp_path: Path) -> None:
    log = FakeLog(LEAVES[:10])
    witness = witness_of(log.vkey, folder=tmp_path)
    assert witness.add_checkpoint(request(0, log), 0).status == 200
    grown, fork = FakeLog(LEAVES[:20]), FakeLog([b"x", *LEAVES[1:20]])
    good = proof(10, LEAVES[:20])
    other = Ed25519PrivateKey.generate()
    refused = [
        (409, request(0, grown)),
        (409, request(9, grown)),
        (409, request(10, FakeLog([b"x", *LEAVES[1:10]]))),
        (400, request(10, FakeLog(LEAVES[:9]), [])),
        (422, request(10, fork)),
        (422, request(10, grown, good[:-1])),
        (422, request(10, grown, [*good, bytes(32)])),
        (422, request(10, grown, [])),
        (422, request(10, log, [bytes(32)])),
        (403, request(10, FakeLog(LEAVES[:20], signer=other))),
        (404, request(10, grown).replace(b"log.example/keno\n", b"other.example\n")),
        (400, b""),
        (400, b"old 01\n\n" + grown.checkpoint()),
        (400, b"old 10\nAAAA\n\n" + grown.checkpoint()),
        (400, b"old 10\n\nhello"),
        (400, b"\xff"),
    ]
    for status, body in refused:
        reply = witness.add_checkpoint(body, 0)
        assert reply.status == status, body
        if status == 409:
            assert (reply.body, reply.media_type) == ("10\n", "text/x.tlog.size")
    assert witness.add_checkpoint(request(10, grown), 0).status == 200


def test_a_witness_that_starts_again_remembers_and_works_alone_in_its_folder(tmp_path: Path) -> None:
    log = FakeLog(LEAVES[:10])
    assert witness_of(log.vkey, folder=tmp_path).add_checkpoint(request(0, log), 0).status == 200
    fork = FakeLog([b"x", *LEAVES[1:10]])
    assert witness_of(log.vkey, folder=tmp_path).add_checkpoint(request(0, fork), 0).status == 409
    with holding(tmp_path), pytest.raises(ConfigError), holding(tmp_path):
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Witness, int]]:
    witness = witness_of(FakeLog([]).vkey, folder=tmp_path)
    with serving(witness, "127.0.0.1", 0) as port:
        yield witness, port


def test_bad_http_is_answered_plainly(served: tuple[Witness, int]) -> None:
    for path, headers, status in (
        ("/add-checkpoint", {"Content-Length": "x"}, 400),
        ("/add-checkpoint", {"Content-Length": "99999999"}, 400),
        ("/other", {"Content-Length": "0"}, 404),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", served[1], timeout=10)
        connection.request("POST", path, headers=headers)
        assert connection.getresponse().status == status
        connection.close()


async def test_a_logs_checkpoints_carry_the_cosignatures_of_the_witnesses_that_answer(
    hall: Hall, tmp_path: Path
) -> None:
    room = await hall.add_room()
    keys = LogKeys(hall.app_pool, bytes(32), "keno.test/log")
    await keys.load()
    public = await keys.public()
    assert public is not None
    witness = witness_of(public.text, folder=tmp_path)
    with serving(witness, "127.0.0.1", 0) as port:
        away = VerifierKey("away.test", 4, bytes(32)).text
        text = f"http://127.0.0.1:{port}/ {witness.key.text}, http://127.0.0.1:1 {away}"
        for number in (1, 2, 3):
            # A new client each time does not know what the witness has seen.
            worker = Sequencer(hall.app_pool, keys, Witnesses(parse_witnesses(text), 2.0))
            for _ in range(2):
                await hall.play(room, [number])
                await worker.step()
    notes = [Note.read(row[0].encode()) for row in await hall.owner_pool.fetch("SELECT note FROM log_checkpoints")]
    assert len(notes) >= 3
    for each in notes:
        check_signed(each, public.text)
        check_signed(each, witness.key.text)
        assert len(each.signatures) == 2


@pytest.mark.parametrize("text", ["ftp://x k", "http://x", "http://x nonsense", f"http://x {FakeLog([]).vkey}"])
def test_witnesses_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_witnesses(text)
