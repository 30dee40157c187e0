"""What the certification kit exports is what rounds are drawn from, and the report says how to make it again."""

from __future__ import annotations

import hmac
import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from support.commands import keno_here

from keno.fairness.rng import stream

SEED = bytes(range(32))
ROUNDS = 3 * stream.EPOCH_ROUNDS + 5


def block_by_hand(number: int) -> bytes:
    """Block 0 of a round of the export in standard-library Python, as docs/rng.md writes it."""
    epoch = (number - 1) // 256
    ctx = b"keno rng export." + number.to_bytes(8, "big")
    epoch_key = hmac.digest(SEED, b"keno rng export: epoch key" + epoch.to_bytes(8, "big"), "sha256")
    seed = hmac.digest(epoch_key, b"keno1:seed" + ctx, "sha256")
    commit = sha256(b"keno1:commit" + ctx + seed).digest()
    x = sha256(b"keno1:pre" + ctx + commit + bytes(8)).digest()
    return hmac.digest(seed, b"keno1:draw" + x + bytes(32) + bytes(4), "sha256")


def numbers_of(block: bytes) -> list[int]:
    """The numbers that a block gives, in order: all 20, where it suffices."""
    numbers: list[int] = []
    for byte in block:
        if byte < 240 and byte % 80 + 1 not in numbers:
            numbers.append(byte % 80 + 1)
    return numbers[:20]


def test_the_stream_is_that_of_the_protocol_with_a_new_key_every_epoch() -> None:
    blocks = b"".join(stream.blocks(SEED, ROUNDS))
    assert blocks == b"".join(block_by_hand(number) for number in range(1, ROUNDS + 1))


def test_the_draws_are_read_from_the_blocks_of_the_stream() -> None:
    blocks, draws = b"".join(stream.blocks(SEED, ROUNDS)), b"".join(stream.draws(SEED, ROUNDS))
    assert len(draws) == 20 * ROUNDS
    for index in range(ROUNDS):
        expected = numbers_of(blocks[32 * index : 32 * index + 32])
        assert list(draws[20 * index : 20 * index + len(expected)]) == expected


@pytest.mark.parametrize("count", [1, 255, 256, 257, 16 * 256, 16 * 256 + 1, 9_000])
def test_a_run_is_the_beginning_of_a_longer_one_and_comes_in_chunks_of_bounded_size(count: int) -> None:
    chunks = list(stream.blocks(SEED, count))
    assert max(map(len, chunks)) <= 32 * 4_096
    assert b"".join(chunks) == b"".join(stream.blocks(SEED, 9_000))[: 32 * count]


def test_keys_of_the_operating_system_give_another_stream_each_time() -> None:
    assert b"".join(stream.blocks(None, 3)) != b"".join(stream.blocks(None, 3))


def test_an_export_in_text_says_the_same_as_one_in_bytes(tmp_path: Path) -> None:
    for what, width in (("stream", 32), ("draws", 20)):
        binary, text = tmp_path / f"{what}.bin", tmp_path / f"{what}.txt"
        common = ("rng", "export", what, "--count", "300", "--seed", SEED.hex())
        assert keno_here(os.environ, *common, "--out", str(binary)).returncode == 0
        ended = keno_here(os.environ, *common, "--text", "--out", str(text))
        assert (ended.returncode, ended.stderr) == (0, f"seed {SEED.hex()}\n")
        lines = text.read_text().splitlines()
        assert len(lines) == 300
        rows = [bytes.fromhex(line) if what == "stream" else bytes(map(int, line.split())) for line in lines]
        assert {len(row) for row in rows} == {width}
        assert b"".join(rows) == binary.read_bytes()


def test_an_export_without_a_seed_tells_the_seed_that_makes_it_again(tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    told = keno_here(os.environ, "rng", "export", "draws", "--count", "10", "--out", str(first)).stderr
    (seed,) = re.findall(r"^seed ([0-9a-f]{64})\n$", told)
    assert keno_here(
        os.environ, "rng", "export", "draws", "--count", "10", "--seed", seed, "--out", str(again)
    ).returncode == 0  # fmt: skip
    assert first.read_bytes() == again.read_bytes()


def test_an_export_never_overwrites_a_file(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"kept")
    ended = keno_here(os.environ, "rng", "export", "draws", "--count", "1", "--out", str(there))
    assert (ended.returncode, there.read_bytes()) == (1, b"kept")
    assert "--out: File exists" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--seed", "00"), "--seed has 32 bytes in hex, not 1"),
        (("--seed", "zz"), "--seed is not hex"),
        (("--seed", SEED.hex(), "--os-keys"), "give either --seed or --os-keys"),
        (("--count", "0"), "--count"),
        (("--count", "1000000000001"), "--count"),
    ],
)
def test_an_export_that_cannot_be_is_refused_before_it_writes(
    arguments: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended = keno_here(os.environ, "rng", "export", "stream", *arguments, "--out", str(out))
    assert ended.returncode != 0
    assert complaint in ended.stdout + ended.stderr
    assert not out.exists()


def test_an_export_ends_in_peace_when_its_reader_has_had_enough() -> None:
    command = [sys.executable, "-m", "keno", "rng", "export", "stream", "--count", "1000000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
        assert export.stdout is not None
        assert export.stderr is not None
        assert len(export.stdout.read(64)) == 64
        export.stdout.close()
        assert export.wait(60) == 0
        assert export.stderr.read().count(b"\n") == 1


def test_a_report_is_written_and_can_be_made_again(tmp_path: Path) -> None:
    ended = keno_here(os.environ, "rng", "report", "--draws", "100000", "--seed", SEED.hex(), "--folder", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "keno-rng-report.json").read_bytes())
    draws = b"".join(stream.draws(SEED, 100_000))
    assert report["draws_sha256"] == sha256(draws).hexdigest()
    assert (report["seed"], report["draws"], report["passes"]) == (SEED.hex(), 100_000, True)
    assert len(report["statistics"]) == 9
    for each in report["statistics"]:
        assert each["p"] >= report["fails_below"]
        assert len(each["cells"]["labels"]) == len(each["cells"]["observed"]) == len(each["cells"]["sigmas"])
    page = (tmp_path / "keno-rng-report.html").read_text()
    assert page.count("<svg") == 9
    assert "all statistics pass" in page
    assert f"keno rng report --draws 100000 --seed {SEED.hex()}" in page
    assert not re.findall(r"(?:src|href|url)\s*[=(]", page), "it asks for nothing from elsewhere"


def test_a_report_of_too_few_draws_or_into_no_folder_is_refused(tmp_path: Path) -> None:
    assert keno_here(os.environ, "rng", "report", "--draws", "99999", "--folder", str(tmp_path)).returncode != 0
    ended = keno_here(os.environ, "rng", "report", "--folder", str(tmp_path / "missing"))
    assert (ended.returncode, "is not a folder" in ended.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []
