"""The ledger against a model of a few lines: movements, rollbacks, bets and the ends of rounds in random order, with
ids that come again, with the same content and with another.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.money import Floor

from keno.infra.local_bus import LocalBus
from keno.infra.outbox import Relay
from keno.money import MINOR_MAX
from keno.wallet.request import MovementKind, MovementRequest, RollbackRequest
from keno.wallet.service import WalletService
from workers import wallet as wallet_worker

PLAYERS = ("ann", "bob")
WIN_FACTOR_HUNDREDTHS = 376
"""What the default paytable pays for one pick that was drawn."""


@dataclass(frozen=True)
class Move:
    """A deposit or withdrawal."""

    id: str
    kind: MovementKind
    player: str
    amount_minor: int


@dataclass(frozen=True)
class Undo:
    """A rollback."""

    id: str
    target: str


@dataclass(frozen=True)
class Bet:
    """A bet on one number, in the round on sale."""

    id: str
    player: str
    stake_minor: int
    pick: int


@dataclass(frozen=True)
class End:
    """The end of the round on sale."""

    void: bool


@dataclass
class Model:
    """What a wallet should do. Balances stand for themselves; `entries` are (player, kind, change)."""

    balances: dict[str, int] = field(default_factory=dict)
    moves: dict[str, Move] = field(default_factory=dict)
    undos: dict[str, Undo] = field(default_factory=dict)
    bets: dict[str, Bet] = field(default_factory=dict)
    on_sale: list[Bet] = field(default_factory=list)
    entries: list[tuple[str, str, int]] = field(default_factory=list)

    def move(self, asked: Move) -> str:
        if asked.id in self.moves:
            return "duplicate" if self.moves[asked.id] == asked else "conflict"
        if asked.id in self.undos or self._undone(asked.id):
            return "conflict"
        if asked.kind == "withdrawal" and asked.player not in self.balances:
            return "player_not_found"
        sign = 1 if asked.kind == "deposit" else -1
        return self._enter(asked.player, asked.kind, sign * asked.amount_minor) or self._keep(self.moves, asked)

    def undo(self, asked: Undo) -> str:
        if asked.id in self.undos:
            return "duplicate" if self.undos[asked.id] == asked else "conflict"
        if asked.id in self.moves or self._undone(asked.id):
            return "conflict"
        if self._undone(asked.target):
            return "already_rolled_back"
        if asked.target in self.undos:
            return "rollback_stands"
        target = self.moves.get(asked.target)
        if asked.target in self.bets:
            return "conflict" if target else "bet_stands"
        refusal = None
        if target:
            sign = -1 if target.kind == "deposit" else 1
            refusal = self._enter(target.player, "rollback", sign * target.amount_minor)
        return refusal or self._keep(self.undos, asked)

    def bet(self, asked: Bet) -> str:
        if asked.id in self.bets:
            return "duplicate" if self.bets[asked.id] == asked else "conflict"
        if self._undone(asked.id):
            return "conflict"
        refusal = self._enter(asked.player, "bet", -asked.stake_minor)
        if refusal is None:
            self.on_sale.append(asked)
        return refusal or self._keep(self.bets, asked)

    def end(self, numbers: bytes | None) -> None:
        for bet in self.on_sale:
            if numbers is None:
                self._gain(bet.player, "refund", bet.stake_minor)
            elif bet.pick in numbers:
                self._gain(bet.player, "win", bet.stake_minor * WIN_FACTOR_HUNDREDTHS // 100)
        self.on_sale = []

    def _undone(self, transaction_id: str) -> bool:
        return any(undo.target == transaction_id for undo in self.undos.values())

    def _enter(self, player: str, kind: str, change_minor: int) -> str | None:
        balance = self.balances.get(player, 0) + change_minor
        if balance < 0:
            return "insufficient_funds"
        if change_minor > 0 and balance > MINOR_MAX:
            return "balance_limit"
        self._gain(player, kind, change_minor)
        return None

    def _gain(self, player: str, kind: str, change_minor: int) -> None:
        self.balances[player] = self.balances.get(player, 0) + change_minor
        self.entries.append((player, kind, change_minor))

    @staticmethod
    def _keep(kept: dict[str, Any], asked: Move | Undo | Bet) -> str:
        kept[asked.id] = asked
        return "accepted"


class House:
    """The same on the real ledger: an operator without any past, on the floor's room."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._wallet = WalletService(floor.pool)
        self._bus = LocalBus(floor.pool)
        self._relay = Relay(floor.pool, self._bus, retention_ms=3_600_000)
        wallet_worker.subscribe(SimpleNamespace(bus=self._bus, wallet=self._wallet))  # type: ignore[arg-type]

    async def open(self) -> None:
        await self._bus.start()

    async def close(self) -> None:
        await self._bus.close()

    async def move(self, asked: Move) -> str:
        request = MovementRequest(asked.id, asked.amount_minor, "EUR")
        return (await self._wallet.move_money(asked.kind, self._floor.operator_id, asked.player, request)).outcome

    async def undo(self, asked: Undo) -> str:
        request = RollbackRequest(asked.id)
        return (await self._wallet.roll_back(self._floor.operator_id, asked.target, request)).outcome

    async def bet(self, asked: Bet) -> str:
        row = self._floor.bet(asked.player, asked.stake_minor, transaction_id=asked.id, picks=(asked.pick,))
        (outcome,) = await self._floor.outcomes(row)
        return outcome.name.lower()

    async def end(self, *, void: bool) -> bytes | None:
        """The numbers drawn; None where the round is void."""
        floor, room = self._floor, self._floor.room
        number = await floor.pool.fetchval("SELECT max(number) FROM rounds WHERE room_id = $1", room.id)
        await (floor.void(number) if void else floor.settle(number))
        await floor.hall.tick()
        while await self._relay.step():
            pass
        numbers: bytes | None = (await floor.hall.row(room, number))["numbers"]
        return numbers

    async def entries(self, player: str) -> list[tuple[str, str, int]]:
        page = await self._wallet.statement(self._floor.operator_id, player, None, None, 1_000)
        return [(player, entry.kind, entry.change_minor) for entry in page.entries] if page else []


ids = st.sampled_from([f"t{number}" for number in range(8)])
amounts_minor = st.sampled_from([100, 100, 200, 300, 1_000, 1_000, MINOR_MAX - 1_500, MINOR_MAX])
moves = st.builds(
    Move,
    id=ids,
    kind=st.sampled_from(["deposit", "deposit", "withdrawal"]),
    player=st.sampled_from(PLAYERS),
    amount_minor=amounts_minor,
)
undos = st.builds(Undo, id=ids, target=ids)
bets = st.builds(
    Bet, id=ids, player=st.sampled_from(PLAYERS), stake_minor=st.sampled_from([100, 200]), pick=st.integers(1, 80)
)
ends = st.builds(End, void=st.booleans())


@given(acts=st.lists(moves | moves | undos | undos | bets | bets | ends, max_size=30))
@settings(
    max_examples=20,
    deadline=None,
    # Each example has an operator of its own.
    # To shrink an example that ends rounds takes minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_a_wallet_does_what_the_model_does(floor: Floor, acts: list[Move | Undo | Bet | End]) -> None:
    floor.operator_id = await floor.add_operator("EUR")
    model, house = Model(), House(floor)
    await house.open()
    for act in acts:
        match act:
            case Move():
                assert await house.move(act) == model.move(act), act
            case Undo():
                assert await house.undo(act) == model.undo(act), act
            case Bet():
                assert await house.bet(act) == model.bet(act), act
            case End():
                model.end(await house.end(void=act.void))
        for player in PLAYERS:
            assert await floor.balance(player) == model.balances.get(player), (act, player)
    # Stakes that are still on the table go home, so that the next example finds a round of its own.
    model.end(await house.end(void=True))
    await house.close()
    for player in PLAYERS:
        expected = sorted(entry for entry in model.entries if entry[0] == player)
        assert sorted(await house.entries(player)) == expected
        assert await floor.balance(player) == model.balances.get(player)
    assert await floor.broken() == {}
