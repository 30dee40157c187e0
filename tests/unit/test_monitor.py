"""The monitor follows an honest log in silence, and finds each way in which a log can cheat."""

import ast
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import logs
from support.logs import FakeLog, digest_of, epoch_entry, honest, lock_entry, result_entry, rounds, vkey_of, void_entry

from keno import monitor
from keno.monitor import Key, Monitor

OTHER = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
WITNESS = "witness.example/w"


def watching(log: FakeLog, **more: object) -> Monitor:
    return Monitor(Key.read(log.vkey, 1), **more)  # type: ignore[arg-type]


def look(watcher: Monitor, log: FakeLog, now_ms: int = 0, state: Path | None = None) -> tuple[int, str]:
    """The exit status of one look, and all that was said."""
    said: list[str] = []
    status = monitor.look(watcher, log.fetch, None if state is None else str(state), now_ms, said.append)
    return status, "\n".join(said)


@pytest.mark.parametrize("growth", [[1], [3, 4, 5], [1, 127, 128, 129, 300], [200, 200]])
def test_an_honest_log_is_followed_however_it_grows(growth: list[int]) -> None:
    whole = honest(max(growth))
    watcher = watching(FakeLog([]))
    for last in growth:
        assert look(watcher, FakeLog(whole[: 1 + 2 * last]))[0] == 0
        assert watcher.size == 1 + 2 * last


def test_only_new_entries_are_fetched() -> None:
    whole = honest(300)
    watcher, log = watching(FakeLog([])), FakeLog(whole)
    assert look(watcher, FakeLog(whole[:-2]))[0] == 0
    assert look(watcher, log)[0] == 0
    assert log.fetched == ["checkpoint", "tile/entries/002.p/89"]
    assert look(watcher, log)[0] == 0
    assert log.fetched[2:] == ["checkpoint"]


def test_a_fork_is_found_and_both_notes_are_shown() -> None:
    watcher, log = watching(FakeLog([])), FakeLog(honest(4))
    fork = FakeLog([*honest(3), *rounds([5, 6], (3, digest_of(honest(3)[-2])))])
    assert look(watcher, log)[0] == 0
    for forked in (fork, FakeLog(fork.entries[:9])):
        status, said = look(watcher, forked)
        assert status == 1
        assert log.checkpoint().decode() in said
        assert forked.checkpoint().decode() in said
    assert look(watcher, FakeLog(honest(5)))[0] == 0


def test_a_rewritten_entry_is_found_whether_it_was_seen_before_or_not() -> None:
    watcher, log = watching(FakeLog([])), FakeLog(honest(4))
    assert look(watcher, log)[0] == 0
    rewritten = honest(5)
    rewritten[4] = void_entry(2, digest_of(rewritten[3]))
    assert look(watcher, FakeLog(rewritten))[0] == 1
    served = FakeLog(
        honest(5), changed={"tile/entries/000.p/11": lambda data: data.replace(honest(5)[4], rewritten[4] + bytes(51))}
    )
    status, said = look(watching(log), served)
    assert (status, "forked or rewritten" in said) == (1, True)


def test_a_shrunk_tree_is_found() -> None:
    watcher = watching(FakeLog([]))
    assert look(watcher, FakeLog(honest(4)))[0] == 0
    status, said = look(watcher, FakeLog(honest(3)))
    assert (status, "shrunk" in said) == (1, True)


def test_a_wrong_signature_is_found_and_so_are_another_key_and_another_log() -> None:
    log = FakeLog(honest(1))
    assert look(watching(log), FakeLog(honest(1), signer=OTHER))[0] == 1
    assert look(watching(FakeLog([], private=OTHER)), log)[0] == 1
    assert look(Monitor(Key.read(vkey_of("other.example", 1, log.private), 1)), log)[0] == 1


LOCK_1 = digest_of(lock_entry(1, (0, bytes(32))))
CHEATS: dict[str, tuple[Callable[[], list[bytes]], str]] = {
    "a round is left out": (lambda: [*honest(2)[:3], *honest(3)[5:]], "was not logged"),
    "a skipped round is not the one it says": (
        lambda: [epoch_entry(1, 9), *rounds([2], (1, bytes(32)))],
        "was not logged",
    ),
    "a lock names another one before it": (lambda: [*honest(1), *rounds([2], (1, bytes(32)))], "was not logged"),
    "a round twice": (lambda: [*honest(1), lock_entry(1, (0, bytes(32)))], "comes after round 1"),
    "a lock without epoch": (lambda: rounds([1]), "no epoch"),
    "a lock behind the epoch": (lambda: [epoch_entry(1, 2), *rounds([1, 2, 3])], "no epoch"),
    "epochs overlap": (lambda: [epoch_entry(1, 9), epoch_entry(9, 9)], "overlaps"),
    "an epoch after the fact": (lambda: [*honest(3), epoch_entry(2, 10)], "overlaps"),
    "an outcome without lock": (lambda: [epoch_entry(1, 9), result_entry(1, LOCK_1)], "no lock"),
    "two outcomes": (lambda: [*honest(1), void_entry(1, LOCK_1)], "second outcome"),
    "an outcome of another lock": (lambda: [*honest(1)[:2], result_entry(1, bytes(32))], "another lock"),
    "another seed": (lambda: [*honest(1)[:2], result_entry(1, LOCK_1, bytes(32))], "commitment"),
    "a hash of something else": (
        lambda: [*honest(1)[:2], honest(1)[2][:-30] + bytes([80]) + honest(1)[2][-29:]],
        "hash",
    ),
    "no entry at all": (lambda: [*honest(1), b"hello"], "none of the kinds"),
    "an unknown kind": (lambda: [*honest(1), b"keno1:log\x05" + bytes(132)], "none of the kinds"),
    "a short entry": (lambda: [*honest(1), lock_entry(2, (1, LOCK_1))[:-1]], "none of the kinds"),
    "an empty entry": (lambda: [*honest(1), b""], "none of the kinds"),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_entries_that_contradict_each_other_are_found(cheat: str) -> None:
    made, reason = CHEATS[cheat]
    status, said = look(watching(FakeLog([])), FakeLog(made()))
    assert status == 1
    assert reason in said


def test_skipped_rounds_are_no_gap() -> None:
    entries = [epoch_entry(1, 4), *rounds([1, 3]), epoch_entry(7, 4)]
    entries += rounds([8], (3, digest_of(entries[3])))
    assert look(watching(FakeLog([])), FakeLog(entries))[0] == 0


def test_a_lock_that_waits_too_long_for_its_outcome_is_incomplete_until_it_has_one() -> None:
    watcher, entries = watching(FakeLog([]), result_limit_ms=60_000), honest(2)
    locked_ms = logs.LOCK_MS + 2_000
    assert look(watcher, FakeLog(entries[:-1]), locked_ms + 60_000)[0] == 0
    status, said = look(watcher, FakeLog(entries[:-1]), locked_ms + 60_001)
    assert (status, "round 2" in said) == (3, True)
    assert look(watcher, FakeLog([*entries[:-1], void_entry(2, digest_of(entries[-2]))]), locked_ms + 99_999)[0] == 0


def test_cosignatures_that_are_asked_for_must_be_there_and_right() -> None:
    witness = Key.read(vkey_of(WITNESS, 4, OTHER), 4)
    log = FakeLog(honest(1), cosigners=[(WITNESS, OTHER)])
    assert look(watching(log, witnesses=[witness]), log)[0] == 0
    bare = FakeLog(honest(1))
    status, said = look(watching(log, witnesses=[witness]), bare)
    assert (status, WITNESS in said) == (3, True)
    moved = FakeLog(honest(2), cosigners=[])
    lines = log.checkpoint().split(b"\n\n")[1].split(b"\n")[1]
    moved.changed["checkpoint"] = lambda data: data + lines + b"\n"
    assert look(watching(log, witnesses=[witness]), moved)[0] == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff",
        b"hello",
        b"a\nb\nc\n",
        b"log.example/keno\n01\nAAAA\n\n\xe2\x80\x94 x AAAAAAAA\n",
        b"x\n1\n!!\n\n- x y\n",
    ],
)
def test_a_checkpoint_that_is_none_is_malformed(answer: bytes) -> None:
    log = FakeLog(honest(1), changed={"checkpoint": lambda _: answer})
    assert look(watching(log), log)[0] == 2


def test_bundles_that_are_cut_or_too_short_are_malformed() -> None:
    for change in (lambda data: data[:-1], lambda data: data[:144], lambda _: b"", lambda data: data + b"\0"):
        log = FakeLog(honest(1), changed={"tile/entries/000.p/3": change})
        assert look(watching(log), log)[0] == 2


def test_nothing_that_a_log_answers_brings_a_traceback() -> None:
    taste, log = random.Random(1), FakeLog(honest(2))
    for path in ("checkpoint", "tile/entries/000.p/5"):
        for _ in range(150):
            place, byte = taste.randrange(len(log.fetch(path))), taste.randrange(256)
            garbled = FakeLog(honest(2), changed={path: lambda d, p=place, b=byte: d[:p] + bytes([b]) + d[p + 1 :]})  # type: ignore[misc]
            same = garbled.fetch(path) == log.fetch(path)
            assert (look(watching(log), garbled)[0] == 0) == same


def test_what_was_seen_is_kept_in_the_state_file(tmp_path: Path) -> None:
    state, log = tmp_path / "state", FakeLog(honest(200))
    assert look(watching(log), log, state=state)[0] == 0
    again = watching(log)
    monitor.load(again, str(state))
    grown = FakeLog(honest(201))
    assert look(again, grown, state=state)[0] == 0
    assert grown.fetched == ["checkpoint", "tile/entries/001.p/147"]
    third = watching(log)
    monitor.load(third, str(state))
    assert look(third, log)[0] == 1


def test_a_state_file_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    log = FakeLog(honest(3))
    status, said = look(watching(log), log, state=tmp_path / "nowhere" / "state")
    assert status == 2
    assert "the state file cannot be written" in str(said)


def test_a_state_file_that_is_damaged_or_of_another_log_is_refused(tmp_path: Path) -> None:
    state, log = tmp_path / "state", FakeLog(honest(3))
    assert look(watching(log), log, state=state)[0] == 0
    whole = json.loads(state.read_text())
    for text in ("", "[]", "{}", "null", json.dumps(whole | {"size": 6}), json.dumps(whole | {"note": ""})):
        state.write_text(text)
        with pytest.raises(monitor.MalformedError):
            monitor.load(watching(log), str(state))
    state.write_text(json.dumps(whole | {"peaks": ["00" * 32] * 3}))
    with pytest.raises(monitor.MalformedError):
        monitor.load(watching(log), str(state))
    state.write_text(json.dumps(whole))
    with pytest.raises(monitor.MalformedError):
        monitor.load(watching(FakeLog([], private=OTHER)), str(state))


def test_the_command_tells_wrong_use_and_an_unreachable_log_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor.main(["http://127.0.0.1:1/log", "--key", "nonsense", "--once"]) == 2
    assert monitor.main(["http://127.0.0.1:1/log", "--key", FakeLog([]).vkey, "--once"]) == 3
    with pytest.raises(SystemExit) as ended:
        monitor.main(["ftp://x", "--key", "k"])
    assert ended.value.code == 2
    assert "cannot be reached" in capsys.readouterr().out


def test_it_imports_nothing_but_the_standard_library() -> None:
    tree = ast.parse(Path(monitor.__file__).read_text())
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules <= sys.stdlib_module_names
