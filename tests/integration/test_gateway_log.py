"""The log over HTTP: what is served reads as the C2SP documents say, and what is not there is a plain 404."""

import json

import pytest
from support import transparency
from support.gateway import Gateway
from support.transparency import Note, check_signed, mth, proof, read_bundle, read_vkey, tile

from keno import verifier

ENTRIES = 3


@pytest.fixture
async def logged(gateway: Gateway) -> tuple[Gateway, int]:
    """A gateway with a settled round in its log, and the round's id."""
    room = await gateway.room(period_ms=3_000, lock_lead_ms=500)
    round_id = await gateway.owner_pool.fetchval("SELECT min(id) FROM rounds WHERE room_id = $1", room.id)
    await gateway.play_until(round_id, "settled")
    worker = gateway.platform.log_sequencer()
    while await worker.append():
        pass
    await worker.publish()
    return gateway, round_id


async def entries_of(gateway: Gateway) -> list[bytes]:
    return [bytes(row[0]) for row in await gateway.owner_pool.fetch("SELECT entry FROM log_entries ORDER BY index")]


async def test_checkpoint_tiles_and_entries_are_those_of_the_specification(logged: tuple[Gateway, int]) -> None:
    gateway, _ = logged
    entries = await entries_of(gateway)
    answer = await gateway.client.get("/log/checkpoint")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=1"
    note = Note.read(answer.content)
    assert note.head() == ("keno.example/log", len(entries), mth(entries))
    stated = (await gateway.client.get("/v1/fairness/log")).json()
    check_signed(note, stated["key"])
    assert read_vkey(stated["key"])[0] == note.head()[0]
    assert (stated["size"], stated["root"]) == (len(entries), mth(entries).hex())
    assert stated["checkpoint"].encode() == answer.content
    for width in range(1, len(entries) + 1):
        hashes = await gateway.client.get(f"/log/tile/0/000.p/{width}")
        bundle = await gateway.client.get(f"/log/tile/entries/000.p/{width}")
        assert hashes.content == tile(0, 0, entries[:width])
        assert read_bundle(bundle.content) == entries[:width]
        for served in (hashes, bundle):
            assert served.headers["Content-Type"] == "application/octet-stream"
            assert served.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_a_full_tile_and_the_one_above_it_are_served(gateway: Gateway) -> None:
    room = await gateway.room()
    filled = """
        INSERT INTO log_entries (index, kind, room_id, number, entry, leaf_hash)
        SELECT n, 1, $1, n + 1, e, sha256('\\x00'::bytea || e)
        FROM generate_series(0, 599) AS n, convert_to('entry ' || n, 'UTF8') AS e ORDER BY n
    """
    await gateway.owner_pool.execute(filled, room.id)
    entries = await entries_of(gateway)
    above = [tile(1, 0, entries)[start : start + 32] for start in (0, 32)]
    await gateway.owner_pool.execute(
        "INSERT INTO log_nodes SELECT 1, n - 1, ($1::bytea[])[n] FROM generate_series(1, 2) n", above
    )
    await gateway.platform.log_sequencer().publish()
    get = gateway.client.get
    assert Note.read((await get("/log/checkpoint")).content).head()[2] == mth(entries)
    for index in (0, 1):
        assert (await get(f"/log/tile/0/00{index}")).content == tile(0, index, entries)
        assert read_bundle((await get(f"/log/tile/entries/00{index}")).content) == entries[256 * index :][:256]
    assert (await get("/log/tile/1/000.p/2")).content == tile(1, 0, entries)
    assert (await get("/log/tile/0/002.p/88")).content == tile(0, 2, entries)
    for first, second in ((1, 600), (256, 600), (257, 513), (600, 600)):
        answer = await get(f"/v1/fairness/log/consistency?first={first}&second={second}")
        assert [bytes.fromhex(each) for each in answer.json()["path"]] == proof(first, entries[:second])
    for index in (0, 255, 256, 599):
        (stated,) = (await get(f"/v1/fairness/log/entries/{index}")).json()["entries"]
        assert [bytes.fromhex(each) for each in stated["path"]] == transparency.path(index, entries)


async def test_a_round_is_proved_by_its_id(logged: tuple[Gateway, int]) -> None:
    gateway, round_id = logged
    stated = (await gateway.client.get(f"/v1/fairness/log/rounds/{round_id}")).json()
    _, size, root = Note.read(stated["checkpoint"].encode()).head()
    assert [each["kind"] for each in stated["entries"]] == ["epoch", "lock", "result"]
    for each in stated["entries"]:
        leaf = verifier.leaf_hash(bytes.fromhex(each["entry"]))
        assert verifier.root_from_path(leaf, each["index"], size, [bytes.fromhex(h) for h in each["path"]]) == root


_NOT_THERE = [
    "/v1/fairness/log/consistency?first=2&second=1",
    "/log/tile/0/000",
    "/log/tile/0/000.p/0",
    "/log/tile/0/000.p/01",
    "/log/tile/0/000.p/200",
    "/log/tile/0/000.p/256",
    "/log/tile/0/000.p/-1",
    "/log/tile/00/000",
    "/log/tile/64/000",
    "/log/tile/63/000",
    "/log/tile/8/000.p/1",
    "/log/tile/1/000.p/1",
    "/log/tile/0/0",
    "/log/tile/0/x000/000.p/1",
    "/log/tile/0/x001/234",
    "/log/tile/0/x999/x999/x999/x999/x999/999",
    "/log/tile/0/x999/x999/x999/x999/x999/x999/999",
    "/log/tile/entries/000",
    "/log/tile/entries/x000/000.p/1",
    "/log/tile/entries/999.p/1",
    "/log/tile/data/000.p/1",
    "/log/tile/",
    "/log/tile/0/%00",
    "/log/tile/0/٠٠٠.p/1",
    "/log/nothing",
    "/v1/fairness/log/rounds/0",
    "/v1/fairness/log/rounds/999999999",
    "/v1/fairness/log/rounds/99999999999999999999999",
    "/v1/fairness/log/rounds/x",
    "/v1/fairness/log/entries/-1",
    "/v1/fairness/log/entries/01",
    "/v1/fairness/log/entries/99999",
    "/v1/fairness/log/entries/999999999999999999999999",
    "/v1/fairness/log/consistency?first=1&second=99999",
    "/v1/fairness/log/anchors",
    "/v1/fairness/log/anchors/1",
    "/v1/fairness/log/anchors/0",
    "/v1/fairness/log/anchors/x",
    "/v1/fairness/log/anchors/99999999999999999999999",
]


async def test_what_is_not_in_the_log_is_not_found(logged: tuple[Gateway, int]) -> None:
    for path in _NOT_THERE:
        answer = await logged[0].client.get(path)
        assert answer.status_code == 404, path
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json()["code"] in ("log_not_found", "not_found")


@pytest.mark.parametrize(
    "query",
    ["", "?first=1", "?first=0&second=1", "?first=1&first=1&second=2", "?first=1&second=2&x=1"],
)
async def test_a_question_about_consistency_that_makes_no_sense_is_told_so(gateway: Gateway, query: str) -> None:
    answer = await gateway.client.get(f"/v1/fairness/log/consistency{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_query")


async def test_an_empty_log_has_no_checkpoint(gateway: Gateway) -> None:
    for path in ("/log/checkpoint", "/v1/fairness/log", "/log/tile/0/000.p/1", "/v1/fairness/log/entries/0"):
        answer = await gateway.client.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "log_not_found")


async def test_the_evidence_of_a_round_shows_it_in_the_log_once_it_is_there(logged: tuple[Gateway, int]) -> None:
    gateway, round_id = logged
    bundle = (await gateway.client.get(f"/v1/rounds/{round_id}/evidence")).text
    lines = [json.loads(line) for line in bundle.splitlines()]
    (shown,) = [line for line in lines if line["type"] == "log"]
    (of_round,) = [line for line in lines if line["type"] == "round"]
    assert (shown["room"], shown["round"]) == (of_round["room"], of_round["round"])
    assert shown["checkpoint"] == (await gateway.client.get("/log/checkpoint")).text
    assert len(shown["entries"]) == ENTRIES
    assert of_round["lock"] in shown["entries"][1]["entry"]
    assert of_round["result"] in shown["entries"][2]["entry"]


_ANCHORED = """
    WITH begun AS (INSERT INTO anchors (chain_id, contract, size) VALUES ($1, $2, $3) RETURNING id),
    signed AS (
        INSERT INTO anchor_transactions (anchor_id, hash, nonce, max_fee_wei, tip_wei, raw)
        SELECT id, $4, 0, 2, 1, '' FROM begun RETURNING anchor_id, hash
    )
    INSERT INTO anchor_verdicts (anchor_id, verdict, transaction_hash, block_number, block_hash, gas_used)
    SELECT anchor_id, 1, hash, 17, $4, 1 FROM signed
"""


async def test_anchors_are_shown_with_the_proof_that_the_log_grew_into_them(logged: tuple[Gateway, int]) -> None:
    gateway, _ = logged
    entries, contract, transaction = await entries_of(gateway), bytes([0xAB]) * 20, bytes([0xCD]) * 32
    await gateway.owner_pool.execute(_ANCHORED, 11_155_111, contract, len(entries), transaction)
    shown = {
        "chain_id": 11_155_111,
        "contract": f"0x{contract.hex()}",
        "transaction": f"0x{transaction.hex()}",
        "block": 17,
        "size": len(entries),
        "root": mth(entries).hex(),
    }
    assert (await gateway.client.get("/v1/fairness/log/anchors")).json() == shown
    for size in range(1, len(entries) + 1):
        path = [digest.hex() for digest in proof(size, entries)]
        answer = await gateway.client.get(f"/v1/fairness/log/anchors/{size}")
        assert answer.json() == shown | {"first": size, "path": path}
    beyond = await gateway.client.get(f"/v1/fairness/log/anchors/{len(entries) + 1}")
    assert (beyond.status_code, beyond.json()["code"]) == (404, "log_not_found")
