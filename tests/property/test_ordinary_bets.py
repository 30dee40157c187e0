"""Bets are read in two ways, the quick one for what is ordinary: it must say what the strict one says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from keno.bets import request
from keno.bets.request import AskedBet, decode, decode_batch
from keno.requests import RequestError

HASH = "ab" * 32
ROOM = "6f1c0000-0000-4000-8000-000000000000"

good_texts = st.sampled_from(["t-1", "p 1", "transaction_id", "bets", "room", "é", "null", "x" * 64])
bad_texts = st.sampled_from(["", "a\n", "\n", "a\nb", "a\x00", "x" * 65, "\x7f", 'a"b', "a\\b", " "])
texts = good_texts | bad_texts | st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
picks = st.lists(st.integers(1, 80), min_size=1, max_size=10, unique=True) | st.lists(
    st.sampled_from([0, 1, 1, 80, 81, -1, 2**70, True, 1.0, "1", None]), max_size=12
)
bets = st.fixed_dictionaries(
    {},
    optional={
        "transaction_id": texts,
        "player": texts,
        "picks": picks,
        "stake_minor": st.sampled_from([1, 100, 0, -1, 2**53 - 1, 2**53, "1", 1.0, True]),
        "currency": st.sampled_from(["EUR", "USD", "eur", "", "EUR\n", "TOOLONGXX"]),
        "room": st.sampled_from([ROOM, ROOM.upper(), "lobby", None]),
        "round": st.sampled_from(["1", "01", "0", str(2**63 - 1), str(2**63), "1\n", None, 1]),
        "paytable": st.sampled_from([HASH, HASH.upper(), "", None]),
        "extra": st.just(1),
    },
)
ordinary: dict[str, Any] = {
    "transaction_id": "t", "player": "p", "picks": [1, 2], "stake_minor": 100, "currency": "EUR", "room": ROOM,
}  # fmt: skip
nearly = st.builds(lambda change, of: {**of, **change}, bets, st.just(ordinary)).map(
    lambda bet: {name: value for name, value in bet.items() if name != "extra"}
)


@st.composite
def spelled(draw: st.DrawFn, values: st.SearchStrategy[dict[str, Any]] = nearly | bets) -> str:
    """A bet in JSON, at times with a field twice, escapes or spaces."""
    bet = draw(values)
    spaces = draw(st.sampled_from(["", " ", "\n\t"]))
    ascii_only = draw(st.booleans())
    members = [f"{json.dumps(k)}{spaces}:{json.dumps(v, ensure_ascii=ascii_only)}" for k, v in bet.items()]
    if members and draw(st.integers(0, 9)) == 0:
        members.append(draw(st.sampled_from(members)))
    if draw(st.integers(0, 19)) == 0:
        members.append('"stake\\u005fminor":100')
    return "{" + f",{spaces}".join(members) + "}"


def strictly(body: bytes) -> AskedBet | tuple[str, str, str | None]:
    try:
        return request._strict(body)
    except RequestError as error:
        return _told(error)


def _told(error: RequestError) -> tuple[str, str, str | None]:
    return error.code, error.detail, error.field


@settings(max_examples=600)
@given(spelled())
def test_a_bet_is_read_as_the_strict_reader_reads_it(text: str) -> None:
    body = text.encode()
    try:
        read: AskedBet | tuple[str, str, str | None] = decode(body)
    except RequestError as error:
        read = _told(error)
    assert read == strictly(body)


@settings(max_examples=400)
@given(st.lists(spelled() | spelled(st.just(ordinary)), min_size=1, max_size=5), st.sampled_from(["", " "]))
def test_each_bet_of_a_batch_is_read_as_if_it_had_come_alone(bets: list[str], space: str) -> None:
    body = ('{"bets":' + space + "[" + ",".join(bets) + "]}").encode()
    told = [_told(each) if isinstance(each, RequestError) else each for each in decode_batch(body)]
    assert told == [strictly(bet.encode()) for bet in bets]


def test_the_ordinary_batch_takes_the_quick_way() -> None:
    batch = [ordinary | {"transaction_id": f"t-{n}", "player": f"p-{n}"} for n in range(1_000)]
    batch[7] |= {"paytable": HASH}
    batch[8] = {name: value for name, value in batch[8].items() if name != "room"} | {"round": "77"}
    body = json.dumps({"bets": batch}).encode()
    quick = request._ordinary(body, request._batch_decoder.decode(body).bets, strings=1)
    assert quick is not None
    assert quick == request._one_by_one(body)
