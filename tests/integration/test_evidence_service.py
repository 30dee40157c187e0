"""The evidence published of rounds really played is verified by a program that shares no line with the server."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from support.rounds import EPOCH_ROUNDS, Hall, room_rules, tight_limits, verify

from keno.bets.outcome import Outcome
from keno.fairness import evidence, leaves
from keno.fairness.service import BUNDLES_AT_ONCE, EvidenceService
from keno.rounds.room_store import Room

STAKE_MAX_MINOR = 10_000
WIN_MAX_MINOR = 20_000


async def bundle(hall: Hall, room: Room, number: int, *, auditor: bool) -> bytes:
    made = await hall.evidence.bundle((await hall.row(room, number))["id"], auditor=auditor)
    assert made is not None
    return made


async def bundles(hall: Hall, room: Room, numbers: range, *, auditor: bool) -> bytes:
    return b"".join([await bundle(hall, room, number, auditor=auditor) for number in numbers])


def line_of(made: bytes, kind: str) -> dict[str, Any]:
    (line,) = [line for line in map(json.loads, made.splitlines()) if line["type"] == kind]
    assert isinstance(line, dict)
    return line


def checks(said: dict[str, Any], number: int) -> dict[str, str]:
    """The verdicts on a round by the name of the check."""
    (report,) = [report for report in said["files"][0]["rounds"] if report["round"] == number]
    return {check["name"]: check["verdict"] for check in report["checks"]}


async def bet_on_every_number(hall: Hall, room: Room, operator_id: UUID, stake_minor: int) -> None:
    """Exactly 20 of these bets win."""
    placed = await asyncio.gather(*(hall.bet(operator_id, room, [number], stake_minor) for number in range(1, 81)))
    assert {each.outcome for each in placed} == {Outcome.ACCEPTED}


async def played_room(hall: Hall) -> Room:
    """Rounds 1 to 5, of which 2 has no bets, 3 was skipped, and 1 and 4 have bets of two operators and capped wins."""
    room = await hall.add_room(its_rules=room_rules(currencies={"EUR": tight_limits(WIN_MAX_MINOR)}))
    acme, best = await hall.add_operator("acme"), await hall.add_operator("best")
    await hall.tick()
    await bet_on_every_number(hall, room, acme, STAKE_MAX_MINOR)
    await hall.bet(best, room, list(range(1, 11)))
    await hall.play(room, [1])
    await hall.at_lock(room, 3)
    await hall.tick()
    await hall.bet(acme, room, [80])
    await bet_on_every_number(hall, room, best, 100)
    await hall.play(room, [4, 5])
    assert await hall.phases(room) == ["settled", "settled", "skipped", "settled", "settled", "open"]
    return room


PLAYED = (1, 2, 4, 5)


async def test_played_rounds_are_verified_from_the_auditors_and_from_the_public_bundles(
    hall: Hall, tmp_path: Path
) -> None:
    room = await played_room(hall)
    for auditor in (True, False):
        together = b"".join([await bundle(hall, room, number, auditor=auditor) for number in PLAYED])
        said = verify(together, tmp_path)
        assert said["exit_status"] == 0, said
        assert [report["profile_proved"] for report in said["files"][0]["rounds"]] == ["S"] * len(PLAYED)
        for number in PLAYED:
            verdicts = checks(said, number)
            assert verdicts["payouts"] == ("ok" if auditor else "skipped")
            assert verdicts["seed"] == verdicts["key_commit"] == ("ok" if number <= EPOCH_ROUNDS else "skipped")
            # Round 4 follows a skipped slot: it names the lock of round 2.
            assert verdicts["prev_lock"] == "ok"
            assert {"lock", "commits_root", "numbers", "result", "bets_root"} <= verdicts.keys()
            assert set(verdicts.values()) <= {"ok", "skipped"}
        for number in PLAYED:
            said = verify(await bundle(hall, room, number, auditor=auditor), tmp_path)
            assert said["exit_status"] == 0, said


async def test_a_capped_win_is_in_the_evidence_with_what_the_maximum_cut(hall: Hall) -> None:
    room = await played_room(hall)
    paid = line_of(await bundle(hall, room, 1, auditor=True), "payouts")["payouts"]
    capped = [win for win in paid if win["cut_minor"]]
    assert len(capped) == 20
    assert {(win["hits"], win["payout_minor"], win["cut_minor"]) for win in capped} == {(1, WIN_MAX_MINOR, 17_600)}
    ids = [int(win["bet"], 16) for win in paid]
    assert ids == sorted(ids)
    assert line_of(await bundle(hall, room, 2, auditor=True), "payouts")["payouts"] == []


async def test_a_forged_payout_numbers_or_bet_is_found_in_the_services_own_bundle(hall: Hall, tmp_path: Path) -> None:
    """Else the tests above would pass with a verifier that checks nothing of what is stored."""
    room = await played_room(hall)
    forgeries = {
        "payouts": "UPDATE payouts SET payout_minor = payout_minor - 1",
        "bets_root": "UPDATE bets SET stake_minor = 200 WHERE id = 1",
        "numbers": "UPDATE rounds SET numbers = substr(numbers, 2) || substr(numbers, 1, 1) WHERE number = 1",
    }
    for check, forgery in forgeries.items():
        await hall.tamper(forgery)
        said = verify(await bundle(hall, room, 1, auditor=True), tmp_path)
        assert said["exit_status"] == 1
        assert checks(said, 1)[check] == "FAIL"


def picks_stake_and_currency(leaf: bytes) -> bytes:
    return leaf[80:106]


async def test_the_public_bundle_lets_nobody_find_out_who_bet_what(hall: Hall) -> None:
    room = await played_room(hall)
    public, full = [await bundle(hall, room, 1, auditor=auditor) for auditor in (False, True)]
    bets = [bytes.fromhex(leaf) for leaf in line_of(full, "round")["bets"]]
    assert len(bets) == 81
    assert line_of(public, "round")["bet_leaves"] == [digest.hex() for digest in leaves.leaf_hashes(b"".join(bets))]
    accounts = await hall.owner_pool.fetch("SELECT account_hash, operator_id FROM players")
    assert len(accounts) == 2
    for account, operator_id in accounts:
        assert account.hex().encode() in full
        assert account.hex().encode() not in public
        assert operator_id.hex.encode() not in public
    for leaf in bets:
        assert leaf[:16].hex().encode() not in public
        assert picks_stake_and_currency(leaf).hex().encode() in full
        assert picks_stake_and_currency(leaf).hex().encode() not in public
    assert b"payout_minor" not in public


async def test_a_players_receipt_is_one_of_the_leaves_of_the_public_bundle(hall: Hall) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    placed = await hall.bet(operator_id, room, [7, 70])
    await hall.play(room, [1])
    assert placed.receipt is not None
    line = line_of(await bundle(hall, room, 1, auditor=False), "round")
    assert line["bet_leaves"] == [placed.receipt.leaf_hash.hex()]


async def test_the_same_round_is_verified_before_and_after_its_epochs_key_is_public(hall: Hall, tmp_path: Path) -> None:
    room = await hall.add_room()
    await hall.play(room, [1, 2, 3])
    before = await bundle(hall, room, 1, auditor=False)
    await hall.play(room, [4])
    after = await bundle(hall, room, 1, auditor=False)
    assert "epoch_key" not in line_of(before, "round")
    assert line_of(after, "round")["epoch_key"]
    epoch = await hall.evidence.epoch((await hall.row(room, 1))["id"])
    assert epoch is not None
    assert epoch.key is not None
    assert epoch.key.hex() == line_of(after, "round")["epoch_key"]
    for made, verdict in ((before, "skipped"), (after, "ok")):
        said = verify(made, tmp_path)
        assert said["exit_status"] == 0
        assert checks(said, 1)["seed"] == checks(said, 1)["key_commit"] == verdict


async def test_a_void_round_is_verified_with_its_refunds_and_the_round_after_it_too(hall: Hall, tmp_path: Path) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.play(room, [1])
    await hall.bet(operator_id, room, [1, 2, 3], 300)
    await hall.at_lock(room, 2)
    await hall.tick()
    await hall.void(room, 2, reason=9)
    await hall.play(room, [3])
    for auditor in (True, False):
        said = verify(await bundles(hall, room, range(1, 4), auditor=auditor), tmp_path)
        assert said["exit_status"] == 0, said
        assert checks(said, 2)["void"] == "ok"
        assert checks(said, 3)["prev_lock"] == "ok"
        void = said["files"][0]["rounds"][1]
        assert void["profile_proved"] is None
        assert "void for reason 9" in void["verdict"]
    assert void["totals"] == {"bets": 1}
    said = verify(await bundle(hall, room, 2, auditor=True), tmp_path)
    totals = said["files"][0]["rounds"][0]["totals"]
    assert totals["currencies"] == {"EUR": {"staked_minor": 300, "refunded_minor": 300}}


async def test_there_is_no_evidence_of_rounds_that_have_not_ended_nor_of_slots_skipped(hall: Hall) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.bet(await hall.add_operator("acme"), room, [1, 2, 3])

    async def made(number: int) -> bytes | None:
        return await hall.evidence.bundle((await hall.row(room, number))["id"], auditor=True)

    assert await made(1) is None
    await hall.at_lock(room, 1)
    await hall.tick()
    assert await made(1) is None
    await hall.at_draw(room, 1)
    await hall.tick(settle=False)
    assert (await hall.phases(room))[0] == "drawn"
    assert await made(1) is None
    await hall.at_lock(room, 3)
    await hall.tick()
    assert (await hall.phases(room))[:3] == ["settled", "settled", "skipped"]
    assert await made(1) is not None
    assert await made(3) is None
    assert await hall.evidence.bundle(987_654) is None


async def test_others_are_served_while_evidence_is_made_and_so_many_rounds_at_once(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await hall.add_room()
    await hall.tick()
    await hall.play(room, [1])
    of_few_bets, under_way, most = evidence.bet_leaves, 0, 0

    def of_many_bets(*arguments: Any) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.3)
        under_way -= 1
        return of_few_bets(*arguments)

    monkeypatch.setattr(evidence, "bet_leaves", of_many_bets)
    made = asyncio.gather(*(bundle(hall, room, 1, auditor=False) for _ in range(BUNDLES_AT_ONCE + 1)))
    turns = 0
    while not made.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert len(set(await made)) == 1
    assert most == BUNDLES_AT_ONCE
    assert turns > 10


async def test_evidence_made_with_another_privacy_key_is_found_to_contradict_the_lock(
    hall: Hall, tmp_path: Path
) -> None:
    room = await hall.add_room()
    operator_id = await hall.add_operator("acme")
    await hall.tick()
    await hall.bet(operator_id, room, [1])
    await hall.play(room, [1])
    round_id = (await hall.row(room, 1))["id"]
    made = await EvidenceService(hall.app_pool, bytes(32)).bundle(round_id)
    assert made is not None
    said = verify(made, tmp_path)
    assert said["exit_status"] == 1
    assert checks(said, 1)["bets_root"] == "FAIL"
