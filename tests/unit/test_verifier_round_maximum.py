"""keno-verify on the maximum of what a player wins in one round: honest houses, cheats, and what cannot be known."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from support.bundles import EUR, House, Line, TestBet, document, dump, paytable_document
from support.verifying import failed, verify

from keno.verifier import INCOMPLETE, VERIFIED, VIOLATION


def verdicts(data: bytes) -> dict[str, str]:
    _, (report,) = verify(data)
    (r,) = report.rounds
    return {check.name: check.verdict for check in r.checks}


# One pick that hits is paid 376 by the paytable of the houses here: the third such win of a player passes the maximum.
LIMITED = {"currencies": {"EUR": EUR | {"win_max_minor": 400, "round_win_max_minor": 1_000}}}
TWO_PLAYERS = tuple(TestBet(n, (n,), player="ann" if n % 2 else "bob") for n in range(1, 81))


def limited_round() -> list[Line]:
    """A round of 80 bets on one number each, of which ann and bob win some; what they win in sum has a maximum."""
    lines = House(rules_changes=LIMITED).play(1, TWO_PLAYERS)
    assert sum(win["payout_minor"] for win in lines[4]["payouts"]) == 2_000
    return lines


def test_the_wins_of_a_player_in_a_round_are_verified_with_their_maximum() -> None:
    lines = limited_round()
    wins = lines[4]["payouts"]
    assert {(win["payout_minor"], win["cut_minor"]) for win in wins} == {(376, 0), (248, 128), (0, 376)}
    assert verify(dump(lines))[0] == VERIFIED
    assert verdicts(dump(lines))["maximum wins a round"] == "ok"


def wins_of(player: str, wins: list[Line]) -> list[Line]:
    return [win for win in wins if TWO_PLAYERS[int(win["bet"], 16) - 1].player == player]


def ignore_the_maximum(wins: list[Line]) -> None:
    for win in wins:
        win["payout_minor"], win["cut_minor"] = win["payout_minor"] + win["cut_minor"], 0


def forget_what_was_cut(wins: list[Line]) -> None:
    wins[:] = [win for win in wins if win["payout_minor"]]


def pay_the_last_before_the_first(wins: list[Line]) -> None:
    for player in ("ann", "bob"):
        of_player = wins_of(player, wins)
        amounts = [(win["payout_minor"], win["cut_minor"]) for win in reversed(of_player)]
        for win, (payout_minor, cut_minor) in zip(of_player, amounts, strict=True):
            win["payout_minor"], win["cut_minor"] = payout_minor, cut_minor


@pytest.mark.parametrize(
    ("cheat", "caught_by"),
    [
        (ignore_the_maximum, ["maximum wins a round", "payouts"]),
        (forget_what_was_cut, ["payouts"]),
        (pay_the_last_before_the_first, ["payouts"]),
    ],
)
def test_a_house_that_cuts_a_players_wins_otherwise_than_by_the_rules_is_caught(
    cheat: Callable[[list[Line]], None], caught_by: list[str]
) -> None:
    lines = limited_round()
    cheat(lines[4]["payouts"])
    assert sorted(set(failed(lines))) == caught_by
    assert verify(dump(lines))[0] == VIOLATION


def test_players_are_apart_and_so_are_the_currencies_of_one_player() -> None:
    rules = {"currencies": LIMITED["currencies"] | {"JPY": EUR | {"exponent": 0, "win_max_minor": 400}}}
    bets = tuple(replace(bet, currency="JPY") if bet.bet_id <= 40 else bet for bet in TWO_PLAYERS)
    lines = House(rules_changes=rules).play(1, bets)
    assert verify(dump(lines))[0] == VERIFIED
    for player in ("ann", "bob"):
        assert sum(win["payout_minor"] for win in wins_of(player, lines[4]["payouts"])) > 1_000


def test_a_public_bundle_says_that_the_maximum_of_a_round_was_not_checked() -> None:
    lines = House(rules_changes=LIMITED).play(1, TWO_PLAYERS, public=True)
    status, _ = verify(dump(lines))
    assert (status, verdicts(dump(lines))["maximum wins a round"]) == (VERIFIED, "skipped")
    assert "maximum wins a round" not in verdicts(dump(House().play(1, public=True)))


def test_one_bet_whose_paytable_is_missing_leaves_open_what_its_player_is_due_and_no_other() -> None:
    known, missing = (document("paytable", paytable_document(name)) for name in ("keno-94", "other"))
    house = House(rules_changes=LIMITED | {"paytables": [known["hash"], missing["hash"]]})
    of_ann, *others = TWO_PLAYERS
    leaves = [bet.leaf(bytes.fromhex(known["hash"])) for bet in others]
    lines = house.play_leaves(1, [of_ann.leaf(bytes.fromhex(missing["hash"])), *leaves])
    wins = lines[4]["payouts"]
    wins_of("ann", wins)[0]["payout_minor"] -= 1
    assert verify(dump(lines))[0] == INCOMPLETE
    wins_of("bob", wins)[0]["payout_minor"] -= 1
    assert failed(lines) == ["payouts"]


def test_a_maximum_of_a_round_below_that_of_a_bet_makes_no_sense() -> None:
    rules = {"currencies": {"EUR": EUR | {"round_win_max_minor": EUR["win_max_minor"] - 1}}}
    assert failed(House(rules_changes=rules).play(1)) == ["rules content"]
