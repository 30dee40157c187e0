"""The forms of answers: the document is made of them, clients read with them, and tests hold what handlers write
against them. A client reads on where an answer has members that it does not know; the document says there are none.

As in `gateway.answers`: ids are decimal strings or UUIDs, hashes lower-case hex, money integers of minor units.
"""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from keno.identity.staff import Role
from keno.money import MINOR_MAX
from keno.requests import (
    AmountMinor,
    CurrencyCode,
    DecimalId,
    Grouping,
    HashHex,
    PlayerReference,
    ReportTime,
    TransactionId,
)

Ms = Annotated[int, Meta(ge=0, description="UTC in milliseconds")]
Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1, le=80)]
BalanceMinor = Annotated[int, Meta(ge=0)]
SessionId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Picks = Annotated[list[Number], Meta(min_length=1, max_length=10)]
Phase = Literal["open", "locked", "drawn", "settled", "skipped", "void"]


class Shape(msgspec.Struct):
    """An object of an answer."""


class ProblemDetails(Shape):
    """RFC 9457. `status`, `title` and `remedy` belong to the `code`; decide by `code`, which is stable."""

    type: Annotated[str, Meta(pattern=r"^/problems/[a-z_]+\Z")]
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    code: Annotated[str, Meta(pattern=r"^[a-z_]+\Z")]
    detail: str
    remedy: str
    field: str | msgspec.UnsetType = msgspec.UNSET


class RoundName(Shape):
    """A round: its id, and its number in its room."""

    id: DecimalId
    number: Count


class RoundState(RoundName):
    """A round and how far it is."""

    phase: Phase


class ReceiptBatch(Shape):
    """Where the bet is in the tree of the bets that were accepted together: leaf `index` of `count`.

    `path` are the hashes of its path one after the other, 64 digits each, the nearest first.
    """

    count: Annotated[int, Meta(ge=2)]
    index: Count
    path: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})+\Z")]


class Receipt(Shape):
    """What the round's lock commits to, and our signature on having accepted it.

    `leaf` is the bet as bytes, `leaf_hash` their hash. The key is that of `key_id` in our JWKS. Without a batch the
    signature is of this bet's statement, with one it is of the batch's tree.
    """

    leaf: Annotated[str, Meta(pattern=r"^[0-9a-f]{276}\Z")]
    leaf_hash: HashHex
    key_id: str
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]
    batch: ReceiptBatch | None


class PlacedBet(Shape):
    """A bet that stands."""

    bet_id: DecimalId
    transaction_id: TransactionId
    round: RoundName
    room: UUID
    player: PlayerReference
    picks: Picks
    stake_minor: AmountMinor
    currency: CurrencyCode
    paytable: HashHex
    accepted_ms: Ms
    receipt: Receipt


class AcceptedBet(Shape):
    """The result of a bet of a batch that stands."""

    status: Literal[201]
    bet: PlacedBet


class RefusedBet(Shape):
    """The result of a bet of a batch that was refused; its neighbours don't change for it."""

    status: Annotated[int, Meta(ge=400, le=599)]
    problem: ProblemDetails


class BetOutcome(Shape):
    """The result of a bet of a batch as clients read it: an `AcceptedBet` or a `RefusedBet`."""

    status: int
    bet: PlacedBet | None = None
    problem: ProblemDetails | None = None


class BetOutcomes(Shape):
    """A result for each bet of the batch, in their order."""

    results: list[BetOutcome]


class BetResult(Shape):
    """What a settled bet won; `credited_ms` is when the balance got it."""

    payout_minor: Annotated[int, Meta(ge=0)]
    cut_minor: Annotated[int, Meta(ge=0)]
    credited_ms: Ms | None


class Inclusion(Shape):
    """Where the round's lock has the bet: leaf `index` of `bets_count` under `bets_root`, and the path to it."""

    lock: HashHex
    bets_root: HashHex
    bets_count: Annotated[int, Meta(ge=1)]
    index: Count
    path: list[HashHex]


class StoredBet(Shape):
    """A bet as it stands. `transaction_id` is null for a player whose operator placed it; `inclusion` is null before
    the lock, and in a list over many rounds.
    """

    bet_id: DecimalId
    transaction_id: TransactionId | None
    round: RoundState
    room: UUID
    player: PlayerReference
    picks: Picks
    stake_minor: AmountMinor
    currency: CurrencyCode
    paytable: HashHex
    accepted_ms: Ms
    receipt: Receipt
    result: BetResult | None
    inclusion: Inclusion | None


class StoredBets(Shape):
    """A page of bets, newest first. The end is where `next_before` is null."""

    bets: list[StoredBet]
    next_before: str | None


class SeenLock(Shape):
    """A lock that you have countersigned; the evidence of the round shows it, without your name."""

    round: RoundName
    lock: HashHex
    seen_ms: Ms
    key_id: str
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]


class PlayerLimitsSet(Shape):
    """What a player may bet in a round from now on; null is no limit."""

    player: PlayerReference
    currency: CurrencyCode
    round_bets_max: Annotated[int, Meta(ge=0)] | None
    round_stake_max_minor: Annotated[int, Meta(ge=0, le=MINOR_MAX)] | None


class Room(Shape):
    """One endless series of rounds."""

    room: UUID
    name: str
    status: Literal["open", "closed"]
    private: bool
    profile: str
    period_ms: Annotated[int, Meta(ge=1)]
    lock_lead_ms: Count
    slot_epoch_ms: int
    rules: HashHex


class Rooms(Shape):
    """The shared rooms and the operator's own."""

    rooms: list[Room]


class Round(Shape):
    """A round as anyone may see it; what is not public yet is null."""

    round: RoundState
    room: UUID
    rules: HashHex | None
    commit: HashHex | None
    opened_ms: Ms | None
    lock_due_ms: Ms | None
    draw_due_ms: Ms | None
    locked_ms: Ms | None
    bets_count: Count | None
    bets_root: HashHex | None
    lock: HashHex | None
    drawn_ms: Ms | None
    numbers: Annotated[list[Number], Meta(min_length=20, max_length=20)] | None
    result: HashHex | None
    seed: HashHex | None
    ended_ms: Ms | None
    void_reason: int | None


class Rounds(Shape):
    """A page of a room's rounds, newest first."""

    rounds: list[Round]
    next_before: Count | None


class MovedMoney(Shape):
    """A deposit or withdrawal, and the balance after it."""

    wallet_transaction_id: DecimalId
    transaction_id: TransactionId
    player: PlayerReference
    amount_minor: AmountMinor
    currency: CurrencyCode
    created_ms: Ms
    balance_minor: BalanceMinor


class Undone(Shape):
    """The movement that a rollback undid."""

    wallet_transaction_id: DecimalId
    player: PlayerReference
    currency: CurrencyCode
    change_minor: int
    balance_minor: BalanceMinor


class RolledBack(Shape):
    """A rollback; `undone` is null where its id named nothing, which is spent now."""

    transaction_id: TransactionId
    rolled_back: TransactionId
    created_ms: Ms
    undone: Undone | None


class Balance(Shape):
    """What a player holds in a currency."""

    currency: CurrencyCode
    balance_minor: BalanceMinor


class Balances(Shape):
    """What a player holds."""

    player: PlayerReference
    balances: list[Balance]


EntryKind = Literal["deposit", "withdrawal", "bet", "win", "refund", "rollback"]


class StatementEntry(Shape):
    """What changed a balance."""

    kind: EntryKind
    currency: CurrencyCode
    change_minor: int
    created_ms: Ms
    transaction_id: TransactionId | None
    wallet_transaction_id: DecimalId | None
    bet_id: DecimalId | None


class Statement(Shape):
    """A page of a player's statement, newest first. The end is where `next_before` is null."""

    player: PlayerReference
    entries: list[StatementEntry]
    next_before: str | None


Ratio = Annotated[str, Meta(pattern=r"^[0-9]+\.[0-9]{6}\Z")]


class RevenueRow(Shape, kw_only=True):
    """What was settled in a group, in one currency: `period` is its day or hour, spelled as `from` and `to` are.

    `ggr_minor` is the turnover less the payout, `rtp` the payout by the turnover. `rtp_expected` is what the paytables
    return of these stakes on average, maximum wins of a bet included; null where that was not noted of all rounds.
    """

    period: ReportTime | msgspec.UnsetType = msgspec.UNSET
    room: UUID | msgspec.UnsetType = msgspec.UNSET
    currency: CurrencyCode
    rounds: Annotated[int, Meta(ge=1)]
    bets: Annotated[int, Meta(ge=1)]
    turnover_minor: Annotated[int, Meta(ge=1)]
    payout_minor: Annotated[int, Meta(ge=0)]
    ggr_minor: int
    rtp: Ratio
    rtp_expected: Ratio | None


class RevenueReport(Shape):
    """The operator's own rounds that were settled from `from_ms` on and before `to_ms`: a row for each group and
    currency with bets. What was settled and counted at `as_of_ms` is in it.
    """

    from_ms: int
    to_ms: int
    group_by: Grouping
    as_of_ms: Ms
    rows: list[RevenueRow]


class SessionState(Shape):
    """A session of a player."""

    session_id: SessionId
    player: PlayerReference
    currency: CurrencyCode
    room: UUID | None
    locale: str


class PlayerState(SessionState):
    """The session that asks, and the balance in its currency."""

    balance_minor: BalanceMinor


class Launched(SessionState):
    """A session that waits for its player."""

    ticket: str
    ticket_expires_ms: Ms
    launch_url: str


class OpenBet(Shape):
    """A bet of a player whose round has not ended. `transaction_id` is null where the operator placed it."""

    bet_id: DecimalId
    transaction_id: TransactionId | None
    round: RoundName
    room: UUID
    picks: Picks
    stake_minor: AmountMinor
    accepted_ms: Ms


class SessionEnded(Shape):
    """A session that is over."""

    session_id: SessionId
    ended: Literal[True]


class PlayerSessionsEnded(Shape):
    """A player whose sessions are all over."""

    player: PlayerReference
    ended: Literal[True]


class Ended(Shape):
    """The session is over."""

    ended: Literal[True]


class Tokens(Shape):
    """Tokens of a session."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in_s: Count
    refresh_token: str
    session: SessionState


class FirstTokens(Shape):
    """Tokens of a session whose ticket was given to the live stream."""

    access_token: str
    expires_in_s: Count
    refresh_token: str


class PlayerEntry(Shape):
    """What changed the player's balance."""

    kind: EntryKind
    change_minor: int
    created_ms: Ms
    transaction_id: TransactionId | None
    bet_id: DecimalId | None


class History(Shape):
    """A page of what moved the player's balance, newest first. The end is where `next_before` is null."""

    entries: list[PlayerEntry]
    next_before: str | None


class Key(Shape):
    """A key, without what is secret of it."""

    key_id: str
    algorithm: Literal["ed25519", "hmac-sha256"]
    created_ms: Ms
    revoked_ms: Ms | None


class AddedKey(Key):
    """A key; `secret` is the shared secret in hex, shown this once."""

    secret: Annotated[str, Meta(pattern=r"^[0-9a-f]+\Z")] | msgspec.UnsetType = msgspec.UNSET


class Keys(Shape):
    """All keys of the operator."""

    keys: list[Key]


class Networks(Shape):
    """From where the operator calls; from anywhere where there are none."""

    networks: list[str]


class StaffState(Shape):
    """Somebody who works with the portal."""

    name: str
    role: Role
    operator: UUID | None


class StaffToken(Shape):
    """A session of staff."""

    token: str
    token_type: Literal["Bearer"]
    idle_s: Count
    staff: StaffState


class JsonWebKey(msgspec.Struct):
    """RFC 7517, RFC 8037."""

    kty: str
    crv: str
    kid: str
    x: str
    use: str
    alg: str


class JsonWebKeys(Shape):
    """Our public keys."""

    keys: list[JsonWebKey]


class Lives(Shape):
    """The process lives."""

    status: Literal["ok"]


class Ready(Shape):
    """The process can serve."""

    status: Literal["ready"]


class Epoch(Shape):
    """The rounds `first`, `first` + 1, ... of a room, whose seeds were committed together: `commits` in this order.

    `epoch_key`, from which all of them follow, is null until each of these rounds has ended.
    """

    room: UUID
    first: Count
    count: Count
    opened_ms: Ms
    epoch: HashHex
    key_commit: HashHex
    commits_root: HashHex
    commits: list[HashHex]
    epoch_key: HashHex | None


class VerifiedCheck(Shape):
    """A check of a round; `missing` is one without its evidence, `skipped` one that this round does not need."""

    name: str
    verdict: Literal["ok", "FAIL", "missing", "skipped"]
    detail: str


class VerifiedSums(Shape):
    """What was staked in a currency, and what goes back: payouts due, or in a void round the stakes."""

    staked_minor: int
    payout_minor: int | None = None
    refunded_minor: int | None = None


class VerifiedTotals(Shape):
    """The bets of a round; their sums by currency where the evidence shows the bets."""

    bets: Count
    currencies: dict[str, VerifiedSums] | None = None


class VerifiedRound(Shape):
    """What the verifier found out about a round. `verdict` is for people, `exit_status` as in `Verified`."""

    room: str
    round: Count
    exit_status: Annotated[int, Meta(ge=0, le=3)]
    verdict: str
    profile_claimed: Literal["S", "E", "B"]
    profile_proved: Literal["S", "E", "B"] | None
    local_beacon: bool
    totals: VerifiedTotals
    checks: list[VerifiedCheck]


class Verified(Shape):
    """What `keno-verify --json` says of a file. `exit_status`: 0 all that had to be checked is right, 1 a violation, 2
    not evidence (`malformed` says why), 3 nothing is wrong, but necessary evidence is missing.
    """

    exit_status: Annotated[int, Meta(ge=0, le=3)]
    malformed: str | None
    faults: list[str]
    rounds: list[VerifiedRound]


class LogHead(Shape):
    """The newest checkpoint of the log, as it is signed and in parts; `key` is its verifier key."""

    key: str
    size: Count
    root: HashHex
    checkpoint: str


class LogEntry(Shape):
    """An entry with its inclusion proof (RFC 9162)."""

    index: Count
    kind: str
    entry: Annotated[str, Meta(pattern=r"^[0-9a-f]+\Z")]
    path: list[HashHex]


class LogProof(Shape):
    """Entries, and the checkpoint that their paths lead to."""

    checkpoint: str
    entries: list[LogEntry]


class LogAnchor(Shape):
    """A root of the log that a contract on an Ethereum chain has; addresses and hashes of the chain begin with 0x."""

    chain_id: Count
    contract: Annotated[str, Meta(pattern="^0x[0-9a-f]{40}$")]
    transaction: Annotated[str, Meta(pattern="^0x[0-9a-f]{64}$")]
    block: Count
    size: Count
    root: HashHex


class LogAnchorOfSize(LogAnchor):
    """The first anchor over `first` entries or more, and the consistency proof from these to it (RFC 9162)."""

    first: Count
    path: list[HashHex]


class LogConsistency(Shape):
    """The consistency proof between two sizes (RFC 9162)."""

    first: Count
    second: Count
    path: list[HashHex]
