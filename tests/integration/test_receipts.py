"""Receipts on every way of betting, held by keno-verify against the evidence that the platform publishes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from support.bundles import Line, dump, sha, tree, uint
from support.gateway import Casino, Gateway
from support.live import connected, open_live
from support.players import play
from support.receipts import verdicts, verify_receipt

from keno.rounds import bet_trees
from keno.rounds.bet_trees import BetTrees
from keno.rounds.room_store import Room

both_servers = pytest.mark.parametrize("gateway", ["route", "lane"], indirect=True)


@pytest.fixture
async def casino(gateway: Gateway) -> Casino:
    """An operator whose player p-1 has 100 EUR."""
    made = await gateway.casino()
    deposit = {"transaction_id": "d-1", "amount_minor": 10_000, "currency": "EUR"}
    assert (await made.post("/v1/wallets/p-1/deposits", deposit)).status_code == 201
    return made


def bet(room: Room, number: int) -> dict[str, Any]:
    picks = [1 + number % 80, 80]
    wanted = {"transaction_id": f"t-{number}", "room": str(room.id), "picks": picks, "stake_minor": 100}
    return wanted | {"player": "p-1", "currency": "EUR"}


async def placed_in_a_batch(casino: Casino, room: Room, count: int) -> list[Line]:
    answer = await casino.post("/v1/bets/batch", {"bets": [bet(room, number) for number in range(count)]})
    return [each["bet"] for each in answer.json()["results"]]


async def keys_of(gateway: Gateway) -> Line:
    keys: Line = (await gateway.client.get("/.well-known/jwks.json")).json()
    return keys


async def evidence_of(gateway: Gateway, placed: Line) -> bytes:
    return (await gateway.client.get(f"/v1/rounds/{placed['round']['id']}/evidence")).content


def lines(answers: list[Line]) -> bytes:
    return b"\n".join(json.dumps(each).encode() for each in answers)


def judged(said: dict[str, Any]) -> list[str]:
    return [each["verdict"] for each in said["files"][0]["receipts"]]


@both_servers
async def test_every_way_of_betting_gives_a_receipt_that_the_evidence_bears_out(
    gateway: Gateway, casino: Casino, tmp_path: Path
) -> None:
    room = await gateway.room(period_ms=10_000, lock_lead_ms=500)
    answers = await placed_in_a_batch(casino, room, 5)
    asked = [bet(room, number) for number in range(10, 14)]
    answers += [each.json() for each in await asyncio.gather(*(casino.post("/v1/bets", one) for one in asked))]
    player, own = await play(casino), {"transaction_id": "own", "room": str(room.id), "picks": [7], "stake_minor": 100}
    answers.append((await player.post("/v1/player/bets", own)).json())
    async with open_live(gateway.platform) as live, connected(live, token=player.access_token) as client:
        answers.append((await client.ask("bet", bet=own | {"transaction_id": "streamed"}))["bet"])
    assert [each["receipt"]["batch"]["index"] for each in answers[:5]] == [0, 1, 2, 3, 4]
    await gateway.play_until(int(answers[0]["round"]["id"]), "settled")
    answers += [(await casino.get(f"/v1/bets/{each['bet_id']}")).json() for each in answers[:10]]
    answers.append((await player.get(f"/v1/player/bets/{answers[9]['bet_id']}")).json())
    assert len({each["inclusion"]["lock"] for each in answers[11:]}) == 1
    assert [each["inclusion"]["index"] for each in answers[11:]] == [*range(10), 9]
    evidence, keys = await evidence_of(gateway, answers[0]), await keys_of(gateway)
    said = verify_receipt(tmp_path, lines(answers), keys=keys, evidence=evidence)
    assert judged(said) == ["verified, signed, and in the lock"] * 22
    assert said["exit_status"] == 0


def without(evidence: bytes, placed: Line) -> bytes:
    """The bundle of a house that left a bet out before it locked, as far as lock and bets go."""
    bundle: list[Line] = [json.loads(line) for line in evidence.splitlines()]
    line = next(line for line in bundle if line["type"] == "round")
    line["bet_leaves"].remove(placed["receipt"]["leaf_hash"])
    line["bets_count"] -= 1
    line["bets_root"] = tree([bytes.fromhex(each) for each in line["bet_leaves"]]).hex()
    fixed = [bytes.fromhex(line[key]) for key in ("room", "commit", "rules", "bets_root", "prev_lock")]
    times = uint(line["bets_count"], 8) + uint(line["lock_ms"], 8) + uint(line["beacon_round"], 8)
    head = b"keno1:lock" + fixed[0] + uint(line["round"], 8)
    line["lock"] = sha(head, *fixed[1:4], times, fixed[4]).hex()
    return dump(bundle)


async def test_a_bet_that_the_house_leaves_out_is_shown_by_its_receipt(
    gateway: Gateway, casino: Casino, tmp_path: Path
) -> None:
    room = await gateway.room(period_ms=2_000, lock_lead_ms=500)
    answers = await placed_in_a_batch(casino, room, 5)
    await gateway.play_until(int(answers[0]["round"]["id"]), "settled")
    cheat = without(await evidence_of(gateway, answers[0]), answers[3])
    said = verify_receipt(tmp_path, lines(answers), keys=await keys_of(gateway), evidence=cheat)
    assert [each["omitted"] for each in said["files"][0]["receipts"]] == [False, False, False, True, False]
    assert (said["exit_status"], verdicts(said, 3)["lock"]) == (1, "ok")


@both_servers
async def test_a_bet_that_comes_again_has_a_receipt_of_the_same_words_whenever_it_comes(
    gateway: Gateway, casino: Casino, tmp_path: Path
) -> None:
    room = await gateway.room()
    first = await placed_in_a_batch(casino, room, 3)
    assert len({each["receipt"]["signature"] for each in first}) == 1
    alone = [(await casino.post("/v1/bets", bet(room, number))).json() for number in range(3)]
    mixed = await placed_in_a_batch(casino, room, 4)
    assert mixed[:3] == alone
    assert [each["receipt"]["batch"] for each in mixed] == [None] * 4
    looked_up = [(await casino.get(f"/v1/bets/{each['bet_id']}")).json() for each in first]
    assert [each["receipt"] for each in looked_up] == [each["receipt"] for each in alone]
    for before, after in zip(first, alone, strict=True):
        assert before | {"receipt": 0} == after | {"receipt": 0}
        assert {key: before["receipt"][key] for key in ("leaf", "leaf_hash", "key_id")} == {
            key: after["receipt"][key] for key in ("leaf", "leaf_hash", "key_id")
        }
    said = verify_receipt(tmp_path, lines(first + alone + looked_up), keys=await keys_of(gateway))
    assert judged(said) == ["verified, signed; no evidence was given"] * 9


@both_servers
async def test_many_bets_that_come_again_have_the_receipts_of_few(gateway: Gateway, casino: Casino) -> None:
    room = await gateway.room()
    await placed_in_a_batch(casino, room, 75)
    again = await placed_in_a_batch(casino, room, 75)
    assert again[:3] == await placed_in_a_batch(casino, room, 3)
    assert len({each["receipt"]["signature"] for each in again}) == 75


async def test_a_refused_bet_has_no_receipt_and_takes_no_place_in_the_batch(gateway: Gateway, casino: Casino) -> None:
    room = await gateway.room()
    bets = [bet(room, 0), bet(room, 1) | {"stake_minor": 1}, bet(room, 2)]
    results = (await casino.post("/v1/bets/batch", {"bets": bets})).json()["results"]
    assert [each["status"] for each in results] == [201, 422, 201]
    places = [
        (each["bet"]["receipt"]["batch"]["count"], each["bet"]["receipt"]["batch"]["index"]) for each in results[::2]
    ]
    assert places == [(2, 0), (2, 1)]
    assert "receipt" not in json.dumps(results[1])


async def test_the_tree_of_a_round_is_read_once_for_all_who_ask_and_kept(
    gateway: Gateway, casino: Casino, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = await gateway.room(period_ms=2_000, lock_lead_ms=500)
    answers = await placed_in_a_batch(casino, room, 5)
    round_id = int(answers[0]["round"]["id"])
    await gateway.play_until(round_id, "settled")
    readings: list[int] = []
    read = bet_trees.read_leaf_hashes

    async def counted(pool: Any, privacy_key: bytes, asked: int) -> bytes:
        readings.append(asked)
        return await read(pool, privacy_key, asked)

    monkeypatch.setattr(bet_trees, "read_leaf_hashes", counted)
    trees = BetTrees(gateway.platform.pool, gateway.platform.keys.privacy, leaves_kept_max=5)
    root = await gateway.owner_pool.fetchval("SELECT bets_root FROM rounds WHERE id = $1", round_id)
    hashes = [bytes.fromhex(each["receipt"]["leaf_hash"]) for each in answers]
    found = await asyncio.gather(*(trees.inclusion(round_id, root, each) for each in hashes))
    assert [each and each.leaf_index for each in found] == [0, 1, 2, 3, 4]
    assert await trees.inclusion(round_id, root, hashes[0]) == found[0]
    assert readings == [round_id]
    assert await trees.inclusion(round_id, root, bytes(32)) is None
    with pytest.raises(AssertionError, match="not those of its lock"):
        await trees.inclusion(round_id, bytes(32), hashes[0])
    await trees.close()
