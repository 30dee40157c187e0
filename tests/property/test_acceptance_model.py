"""The acceptance of bets against a model of a few lines, on random batches of a few players with little money."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.money import Floor
from support.rounds import PRIVACY_KEY, RECEIPT_KEY

from keno.bets.outcome import Outcome
from keno.bets.request import BetRequest
from keno.bets.service import BetService
from keno.bets.store import BetRow
from keno.fairness import keno1
from keno.game.numbers import picks_mask

PLAYERS = ("ann", "bob", "eve", "blocked")
CURRENCIES = ("EUR", "USD", "JPY")


@dataclass(frozen=True)
class Asked:
    """A bet as the model sees it; `content` is everything but its id."""

    transaction_id: str
    player: str
    currency: str
    stake_minor: int
    pick: int

    @property
    def content(self) -> tuple[str, str, int, int]:
        return self.player, self.currency, self.stake_minor, self.pick


@dataclass
class Model:
    """What a house should do: one bet after the other, in the order of their arrival."""

    balances: dict[tuple[str, str], int]
    placed: dict[str, Asked] = field(default_factory=dict)

    def place(self, asked: Asked) -> Outcome:
        outcome = self._judge(asked)
        if outcome is Outcome.ACCEPTED:
            self.placed[asked.transaction_id] = asked
            self.balances[asked.player, asked.currency] -= asked.stake_minor
        return outcome

    def _judge(self, asked: Asked) -> Outcome:
        if asked.transaction_id in self.placed:
            same = self.placed[asked.transaction_id].content == asked.content
            return Outcome.DUPLICATE if same else Outcome.CONFLICT
        if asked.currency == "JPY":
            return Outcome.CURRENCY_NOT_OFFERED
        if asked.stake_minor % 100 or asked.stake_minor == 0:
            return Outcome.INVALID_STAKE
        if asked.player == "blocked":
            return Outcome.PLAYER_BLOCKED
        if self.balances.get((asked.player, asked.currency), 0) < asked.stake_minor:
            return Outcome.INSUFFICIENT_FUNDS
        return Outcome.ACCEPTED

    def place_as_it_arrives(self, turn: Sequence[Asked]) -> list[Outcome]:
        """A turn of the gateway: a bet whose id is under way waits until the others of its turn have gone."""
        outcomes: dict[int, Outcome] = {}
        waiting = list(enumerate(turn))
        while waiting:
            under_way: set[str] = set()
            later = []
            for place, asked in waiting:
                if asked.transaction_id in under_way:
                    later.append((place, asked))
                else:
                    under_way.add(asked.transaction_id)
                    outcomes[place] = self.place(asked)
            waiting = later
        return [outcomes[place] for place in range(len(turn))]


asked_bets = st.builds(
    Asked,
    transaction_id=st.sampled_from([f"t{number}" for number in range(12)]),
    player=st.sampled_from(PLAYERS),
    currency=st.sampled_from(["EUR", "EUR", "EUR", "USD", "JPY"]),
    stake_minor=st.sampled_from([0, 50, 100, 100, 200, 300, 400, 500, 700]),
    pick=st.sampled_from([7, 7, 8]),
)
deposits = st.dictionaries(
    st.tuples(st.sampled_from(PLAYERS), st.sampled_from(CURRENCIES)), st.integers(1, 1_500), max_size=8
)
random_batches = settings(
    max_examples=40,
    deadline=None,
    # Each example has an operator of its own.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def new_house(floor: Floor, balances: dict[tuple[str, str], int]) -> None:
    """An operator without any past, with these balances and a blocked player."""
    floor.operator_id = await floor.add_operator(*CURRENCIES)
    await floor.pool.execute(
        "INSERT INTO players (operator_id, reference, account_hash, status) VALUES ($1, 'blocked', $2, 'blocked')",
        floor.operator_id,
        keno1.account_hash(floor.operator_id.bytes, "blocked"),
    )
    for (player, code), amount_minor in balances.items():
        await floor.fund(player, amount_minor, code)


async def must_agree(floor: Floor, model: Model) -> None:
    stored = await floor.owner_pool.fetch(
        """
        SELECT b.transaction_id, p.reference, a.currency, b.stake_minor, b.picks, w.amount_minor
        FROM bets AS b JOIN accounts AS a ON a.id = b.account_id JOIN players AS p ON p.id = a.player_id
        JOIN ledger AS w ON w.bet_id = b.id
        WHERE b.operator_id = $1
        """,
        floor.operator_id,
    )
    expected = {
        (each.transaction_id, each.player, each.currency, each.stake_minor, picks_mask([each.pick]), each.stake_minor)
        for each in model.placed.values()
    }
    assert {tuple(row) for row in stored} == expected
    assert len(stored) == len(expected)
    for (player, code), balance in model.balances.items():
        assert await floor.balance(player, code) == balance, (player, code)
    assert await floor.broken() == {}


def row(floor: Floor, asked: Asked) -> BetRow:
    return floor.bet(
        asked.player,
        asked.stake_minor,
        transaction_id=asked.transaction_id,
        currency=asked.currency,
        picks=(asked.pick,),
    )


@given(
    deposited=deposits,
    batches=st.lists(st.lists(asked_bets, max_size=12, unique_by=lambda bet: bet.transaction_id), max_size=4),
)
@random_batches
async def test_a_batch_has_the_outcomes_of_its_bets_placed_one_by_one(
    floor: Floor, deposited: dict[tuple[str, str], int], batches: list[list[Asked]]
) -> None:
    await new_house(floor, deposited)
    model = Model(dict(deposited))
    for batch in batches:
        expected = [model.place(asked) for asked in batch]
        assert await floor.outcomes(*(row(floor, asked) for asked in batch)) == expected
    await must_agree(floor, model)


@given(deposited=deposits, turns=st.lists(st.lists(asked_bets, max_size=12), max_size=3))
@random_batches
async def test_a_service_has_the_outcomes_of_its_bets_placed_in_the_order_of_their_arrival(
    floor: Floor, deposited: dict[tuple[str, str], int], turns: list[list[Asked]]
) -> None:
    await new_house(floor, deposited)
    model = Model(dict(deposited))
    service = BetService(floor.pool, PRIVACY_KEY, RECEIPT_KEY)
    for turn in turns:
        placed = await asyncio.gather(
            *(
                service.place(
                    floor.operator_id,
                    BetRequest(
                        transaction_id=asked.transaction_id,
                        player=asked.player,
                        picks=[asked.pick],
                        # The form was judged before: here, stakes that no request can have are those of no room.
                        stake_minor=asked.stake_minor,
                        currency=asked.currency,
                        room=floor.room.id,
                    ),
                    picks_mask([asked.pick]),
                )
                for asked in turn
            )
        )
        assert [each.outcome for each in placed] == model.place_as_it_arrives(turn)
        assert all((each.receipt is not None) == (each.outcome <= Outcome.DUPLICATE) for each in placed)
    await must_agree(floor, model)
