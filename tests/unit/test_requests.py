"""The strict reading of requests: what is refused, by which code and field, and that nothing else ever comes out."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keno.bets.request import decode
from keno.money import MINOR_MAX
from keno.requests import ID_MAX, RequestError
from keno.wallet.request import decode_movement, decode_rollback

ROOM = "018f4b5e-7c11-4c3a-9a51-0d8a3f1c2b4d"
BET: dict[str, Any] = {
    "transaction_id": "t-1",
    "player": "alice",
    "picks": [1, 2, 80],
    "stake_minor": 100,
    "currency": "EUR",
    "room": ROOM,
}
DEPOSIT: dict[str, Any] = {"transaction_id": "d-1", "amount_minor": 100, "currency": "EUR"}
HASH = "0123456789abcdef" * 4


def body(request: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**request, **changes}).encode()


def without(request: dict[str, Any], field: str) -> bytes:
    return json.dumps({name: value for name, value in request.items() if name != field}).encode()


def by_round(round_id: Any) -> bytes:
    return body({name: value for name, value in BET.items() if name != "room"}, round=round_id)


def refused(content: bytes) -> tuple[str, str | None]:
    with pytest.raises(RequestError) as caught:
        decode(content)
    assert caught.value.detail
    return caught.value.code, caught.value.field


def test_a_bet_is_read_as_it_was_written() -> None:
    request, mask = decode(body(BET, paytable=HASH))
    assert (request.transaction_id, request.player, request.stake_minor) == ("t-1", "alice", 100)
    assert (str(request.room), request.round_id, request.paytable) == (ROOM, None, HASH)
    assert mask == (1 | 2 | 1 << 79).to_bytes(10, "big")


@pytest.mark.parametrize("round_id", ["1", str(ID_MAX)])
def test_a_bet_may_name_its_round_instead_of_the_room(round_id: str) -> None:
    request, _ = decode(by_round(round_id))
    assert (request.room, request.round_id) == (None, int(round_id))


@pytest.mark.parametrize("field", ["transaction_id", "player", "picks", "stake_minor", "currency"])
def test_a_bet_without_a_required_field_is_refused(field: str) -> None:
    assert refused(without(BET, field)) == ("missing_field", field)


@pytest.mark.parametrize("name", ["stake", "Picks", "", "picks[0]", "a b", "line\nfeed", "`", "x` - at `$.picks"])
def test_a_field_that_is_not_known_is_refused_whatever_its_name(name: str) -> None:
    code, field = refused(body(BET, **{name: 1}))
    assert code == "unknown_field"
    assert field is not None
    assert name.startswith(field)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff",
        b"\xef\xbb\xbf{}",
        body(BET) + b"{}",
        body(BET)[:-1] + b",}",
        body(BET).replace(b"alice", b"al\xffce"),
        body(BET).replace(b"alice", rb"al\ud800ce"),
        body(BET).replace(b"alice", rb"al\udc00ce"),
        body(BET).replace(b"alice", b"al\xed\xa0\x80ce"),
        body(BET).replace(b"alice", rb"al\x41ce"),
        body(BET).replace(b'"player"', rb'"player\ud83d"'),
        body(BET).replace(b": 100", b": 0100"),
        body(BET).replace(b": 100", b": NaN"),
        body(BET).replace(b": 100", b": Infinity"),
    ],
)
def test_what_is_not_json_is_refused_as_such(content: bytes) -> None:
    assert refused(content) == ("malformed_json", None)


@pytest.mark.parametrize("content", [b"null", b"[]", b"1", b"1e999", b'"bet"', b"true", b"[" * 100_000])
def test_json_that_is_not_an_object_is_refused(content: bytes) -> None:
    assert refused(content) == ("invalid_request", None)


@pytest.mark.parametrize(
    "picks", [[], list(range(1, 12)), [1, 1], [0], [81], [-1], [10**30], [-(10**30)], {}, {"1": 1}, "1", 1, None]
)
def test_picks_that_no_bet_can_have_are_refused(picks: Any) -> None:
    assert refused(body(BET, picks=picks)) == ("invalid_picks", "picks")


@pytest.mark.parametrize("pick", [True, False, 1.0, 1.5, "1", None, [1], {"a": 1}, float("1e308")])
def test_a_pick_of_another_kind_is_refused_and_pointed_at(pick: Any) -> None:
    assert refused(body(BET, picks=[7, pick])) == ("invalid_picks", "picks[1]")


@pytest.mark.parametrize(
    "stake", [0, -1, -(2**63) - 1, MINOR_MAX + 1, 2**63, 10**30, 1.0, 1e2, 0.5, True, "100", None, [100], {"a": 1}]
)
def test_a_stake_that_is_no_amount_is_refused(stake: Any) -> None:
    assert refused(body(BET, stake_minor=stake)) == ("invalid_stake", "stake_minor")


@pytest.mark.parametrize("digits", [20, 4_000, 5_000, 100_000])
def test_numbers_too_long_for_python_are_refused_like_any_other(digits: int) -> None:
    assert refused(body(BET).replace(b": 100,", b": %s," % (b"9" * digits)))[0] == "invalid_stake"
    assert refused(body(BET).replace(b"[1, 2, 80]", b"[%s]" % (b"9" * digits)))[0] == "invalid_picks"


def test_the_smallest_and_the_largest_amount_are_read() -> None:
    for stake_minor in (1, MINOR_MAX):
        assert decode(body(BET, stake_minor=stake_minor))[0].stake_minor == stake_minor


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("transaction_id", value) for value in ["", "x" * 65, "a b", "é", "a\x00", "a\x7f", 1, None, True, ["t"]]),
        *(("player", value) for value in ["", "x" * 65, "a\x00b", "a\tb", "a\nb", "\x7f", 1, None, 1.5, {}]),
        *(("currency", value) for value in ["", "EU", "eur", "EUROEUROE", "EUR ", "€UR", None, 978]),
        *(("room", value) for value in ["", "lobby", ROOM[:-1], ROOM + "0", 1, [], True]),
        *(("paytable", value) for value in ["", HASH[1:], HASH + "0", HASH.upper(), "g" * 64, 1, []]),
    ],
)
def test_a_value_of_the_wrong_form_is_refused_by_its_field(field: str, value: Any) -> None:
    assert refused(body(BET, **{field: value})) == ("invalid_request", field)


@pytest.mark.parametrize(
    "round_id", ["", "0", "01", "-1", "+1", "1.0", "1e3", " 1", "٣", str(ID_MAX + 1), "9" * 19, "9" * 20, 1, 1.0]
)
def test_a_round_that_is_no_id_is_refused(round_id: Any) -> None:
    assert refused(by_round(round_id)) == ("invalid_request", "round")


@pytest.mark.parametrize(
    ("field", "value"), [("transaction_id", "t-1"), ("player", "alice"), ("currency", "EUR"), ("paytable", HASH)]
)
def test_a_newline_at_the_end_is_not_overlooked(field: str, value: str) -> None:
    assert refused(body(BET, **{field: value + "\n"})) == ("invalid_request", field)
    assert refused(by_round("1\n")) == ("invalid_request", "round")


@pytest.mark.parametrize("player", ["x" * 64, "\N{GRINNING FACE}" * 64, "Zoë O'Neil", "日本", "a\u2028b", "\ufffd"])
def test_a_player_may_have_any_printable_name_of_up_to_64_characters(player: str) -> None:
    assert decode(body(BET, player=player))[0].player == player


def test_a_bet_names_a_room_or_a_round_and_not_both_or_none() -> None:
    assert refused(body(BET, round="1")) == ("invalid_request", "round")
    assert refused(without(BET, "room")) == ("invalid_request", "round")
    assert refused(body(BET, room=None, round=None)) == ("invalid_request", "round")


def test_null_stands_for_an_optional_field_that_is_left_out() -> None:
    assert decode(body(BET, round=None, paytable=None)) == decode(body(BET))


def test_the_fingerprint_is_of_the_bet_and_not_of_its_json() -> None:
    request, mask = decode(body(BET))
    relaid = json.dumps(dict(reversed([*BET.items()])), indent=2).replace("80", "80 ").encode()
    again, same_mask = decode(relaid)
    assert again.fingerprint(same_mask) == request.fingerprint(mask)
    reordered, reordered_mask = decode(body(BET, picks=[80, 2, 1]))
    assert reordered.fingerprint(reordered_mask) == request.fingerprint(mask)
    renamed, renamed_mask = decode(body(BET, transaction_id="t-2"))
    assert renamed.fingerprint(renamed_mask) == request.fingerprint(mask)


@pytest.mark.parametrize(
    "changes",
    [
        {"player": "bob"},
        {"picks": [1, 2, 79]},
        {"picks": [1, 2]},
        {"stake_minor": 101},
        {"currency": "USD"},
        {"room": ROOM[:-1] + "e"},
        {"room": None, "round": "1"},
        {"paytable": HASH},
    ],
)
def test_whatever_differs_in_a_bet_differs_in_its_fingerprint(changes: dict[str, Any]) -> None:
    request, mask = decode(body(BET))
    other, other_mask = decode(body(BET, **changes))
    assert other.fingerprint(other_mask) != request.fingerprint(mask)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1", "EUR", ROOM, HASH]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
field_names = st.sampled_from([*BET, *DEPOSIT, "round", "paytable"]) | st.text(max_size=12)
objects = st.dictionaries(field_names, json_values, max_size=10)
almost_bets = objects.map(lambda changes: {**BET, **changes})
almost_deposits = objects.map(lambda changes: {**DEPOSIT, **changes})


def read_or_refuse(content: bytes) -> None:
    for reader in (decode, decode_movement, decode_rollback):
        try:
            reader(content)
        except RequestError as error:
            # An answer in JSON is made of these: they must be text that can be encoded.
            f"{error.code} {error.field} {error.detail}".encode()


@given(value=json_values | objects | almost_bets | almost_deposits, ascii_only=st.booleans())
def test_any_json_is_read_or_refused_and_nothing_else(value: Any, ascii_only: bool) -> None:
    read_or_refuse(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass"))


@given(content=st.binary(max_size=64))
@example(b'{"a":' * 20_000)
@example(b'{"picks":' + b"[" * 20_000)
def test_any_bytes_are_read_or_refused_and_nothing_else(content: bytes) -> None:
    read_or_refuse(content)


@given(cut=st.integers(0, 200), at=st.integers(0, 200), byte=st.integers(0, 255))
def test_a_damaged_bet_is_read_or_refused_and_nothing_else(cut: int, at: int, byte: int) -> None:
    content = bytearray(body(BET, paytable=HASH)[: 400 - cut])
    content[at % len(content)] = byte
    read_or_refuse(bytes(content))


@given(value=almost_bets)
def test_a_bet_that_is_read_fits_the_database(value: dict[str, Any]) -> None:
    try:
        request, mask = decode(json.dumps(value).encode())
    except RequestError:
        return
    assert 1 <= len(request.transaction_id) <= 64
    assert request.transaction_id.isascii()
    assert 1 <= len(request.player) <= 64
    assert "\0" not in request.player
    assert 1 <= request.stake_minor <= MINOR_MAX
    assert request.round_id is None or 1 <= request.round_id <= ID_MAX
    assert 3 <= len(request.currency) <= 8
    assert len(mask) == 10


@pytest.mark.parametrize("field", ["transaction_id", "amount_minor", "currency"])
def test_a_deposit_without_a_field_is_refused(field: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode_movement(without(DEPOSIT, field))
    assert (caught.value.code, caught.value.field) == ("missing_field", field)


@pytest.mark.parametrize("amount", [0, -1, MINOR_MAX + 1, 10**30, 1.0, True, "100", None])
def test_a_deposit_of_no_amount_is_refused(amount: Any) -> None:
    with pytest.raises(RequestError) as caught:
        decode_movement(body(DEPOSIT, amount_minor=amount))
    assert (caught.value.code, caught.value.field) == ("invalid_amount", "amount_minor")


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"player": "alice"}, "unknown_field", "player"),
        ({"transaction_id": "d-1\n"}, "invalid_request", "transaction_id"),
        ({"currency": "euro"}, "invalid_request", "currency"),
    ],
)
def test_a_malformed_deposit_is_refused_by_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode_movement(body(DEPOSIT, **changes))
    assert (caught.value.code, caught.value.field) == (code, field)


def test_the_fingerprint_of_a_deposit_tells_players_amounts_and_currencies_apart() -> None:
    request = decode_movement(body(DEPOSIT))
    prints = {
        request.fingerprint("deposit", "alice"),
        request.fingerprint("deposit", "bob"),
        decode_movement(body(DEPOSIT, amount_minor=101)).fingerprint("deposit", "alice"),
        decode_movement(body(DEPOSIT, currency="USD")).fingerprint("deposit", "alice"),
    }
    assert len(prints) == 4
    assert decode_movement(body(DEPOSIT, transaction_id="d-2")).fingerprint("deposit", "alice") in prints
