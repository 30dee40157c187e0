"""The rules of a room: the document that every lock commits to by its hash, and the check before a room may use it.

The document is the JSON object of `docs/evidence.md` in the same canonical form as a paytable (compact, keys in the
stated order, currencies by code, ASCII, no trailing newline); `parse` accepts nothing else. `parse` and `build` judge
form only. `check` judges meaning, against the paytables themselves: no room opens and no bet is settled without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import sha256
from types import MappingProxyType
from typing import Final, Literal

import msgspec

from keno.errors import KenoError
from keno.game.numbers import DRAWN, NUMBERS, PICKS_MAX
from keno.game.paytable import Paytable, fraction_text
from keno.money import CURRENCIES, MINOR_MAX

PROTOCOL: Final = "keno1"
FairnessProfile = Literal["S", "E", "B"]

GUARD_MS_MIN = 2_000
"""A beacon round is chosen at least this long after the lock, so that its value cannot be known while bets are open,
even if clocks disagree a little (`docs/fairness.md`)."""

GUARD_MS_MAX = 60_000
"""The longest period of a room; a longer guard would only delay results."""

TERMS_MAX = 256
"""Paytables x currencies of a room: a settled bet names its pair in one byte (`keno.game.settlement`)."""

_FRACTION_PATTERN = re.compile(r"(0|[1-9][0-9]{0,17})/([1-9][0-9]{0,17})")
_HASH_PATTERN = re.compile(r"[0-9a-f]{64}")


class RulesError(KenoError):
    """A document that is not a rules document in canonical form, or rules under which no room may be opened."""


class CurrencyRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Limits in one currency, in minor units.

    `win_max_minor` is the most that a single bet can be paid, `round_win_max_minor` the most that all bets of a player
    in one round can be paid. Where None, the document does not have it, and there is no such limit.
    """

    exponent: int
    stake_min_minor: int
    stake_max_minor: int
    stake_step_minor: int
    win_max_minor: int
    round_win_max_minor: int | None = None

    def accepts(self, stake_minor: int) -> bool:
        """Whether a stake lies within the limits and on a step."""
        return self.stake_min_minor <= stake_minor <= self.stake_max_minor and stake_minor % self.stake_step_minor == 0


@dataclass(frozen=True, slots=True)
class RoomRules:
    """Immutable rules of a room, made by `parse` or `build`. `hash` (32 bytes) is the SHA-256 of `document`.

    `paytables` are the hashes of the offered paytables, the first is the default; `rtp_bounds` is inclusive;
    `beacon_chain` is the hex hash of the drand chain, None in profile S.
    """

    document: bytes
    hash: bytes = field(compare=False)
    profile: FairnessProfile = field(compare=False)
    guard_ms: int = field(compare=False)
    beacon_chain: str | None = field(compare=False)
    rtp_bounds: tuple[Fraction, Fraction] = field(compare=False)
    paytables: tuple[bytes, ...] = field(compare=False)
    currencies: Mapping[str, CurrencyRules] = field(compare=False)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The published form; the order of the fields is the order of its keys."""

    protocol: Literal["keno1"]
    numbers: Literal[80]
    drawn: Literal[20]
    profile: FairnessProfile
    guard_ms: int
    beacon_chain: str | None
    rtp_bounds: tuple[str, str]
    paytables: list[str]
    currencies: dict[str, CurrencyRules]


def document(
    *,
    profile: FairnessProfile,
    guard_ms: int,
    beacon_chain: str | None,
    rtp_bounds: tuple[Fraction, Fraction],
    paytables: Sequence[bytes],
    currencies: Mapping[str, CurrencyRules],
) -> bytes:
    """The canonical rules document; `paytables` are 32-byte hashes, the default first."""
    return msgspec.json.encode(
        _Document(
            protocol=PROTOCOL,
            numbers=NUMBERS,
            drawn=DRAWN,
            profile=profile,
            guard_ms=guard_ms,
            beacon_chain=beacon_chain,
            rtp_bounds=(fraction_text(rtp_bounds[0]), fraction_text(rtp_bounds[1])),
            paytables=[paytable_hash.hex() for paytable_hash in paytables],
            currencies={code: currencies[code] for code in sorted(currencies)},
        )
    )


def parse(data: bytes) -> RoomRules:
    """The rules that the published bytes `data` describe. Raises `RulesError` unless they are in canonical form."""
    try:
        stated = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RulesError(f"not a rules document: {error}") from None
    for paytable_hash in stated.paytables:
        if not _HASH_PATTERN.fullmatch(paytable_hash):
            raise RulesError(f"{paytable_hash!r} is not the hash of a paytable (64 lower-case hex digits)")
    rules = RoomRules(
        document=data,
        hash=sha256(data).digest(),
        profile=stated.profile,
        guard_ms=stated.guard_ms,
        beacon_chain=stated.beacon_chain,
        rtp_bounds=(_fraction(stated.rtp_bounds[0]), _fraction(stated.rtp_bounds[1])),
        paytables=tuple(bytes.fromhex(paytable_hash) for paytable_hash in stated.paytables),
        currencies=MappingProxyType(stated.currencies),
    )
    canonical = document(
        profile=rules.profile,
        guard_ms=rules.guard_ms,
        beacon_chain=rules.beacon_chain,
        rtp_bounds=rules.rtp_bounds,
        paytables=rules.paytables,
        currencies=rules.currencies,
    )
    if canonical != data:
        raise RulesError(f"not in canonical form: {len(data)} bytes, the canonical document has {len(canonical)}")
    return rules


def build(
    *,
    profile: FairnessProfile,
    guard_ms: int,
    beacon_chain: str | None,
    rtp_bounds: tuple[Fraction, Fraction],
    paytables: Sequence[bytes],
    currencies: Mapping[str, CurrencyRules],
) -> RoomRules:
    """New rules, in form only: pass them to `check` before a room uses them."""
    return parse(
        document(
            profile=profile,
            guard_ms=guard_ms,
            beacon_chain=beacon_chain,
            rtp_bounds=rtp_bounds,
            paytables=paytables,
            currencies=currencies,
        )
    )


def check(rules: RoomRules, paytables: Iterable[Paytable]) -> None:
    """Refuses, with `RulesError`, rules under which no room may be opened. `paytables` are those that the rules offer.

    The relations hold between documents that are already public, so anyone can repeat this check.
    """
    offered = {paytable.hash: paytable for paytable in paytables}
    _check_fairness(rules)
    _check_offer(rules, offered)
    low, high = rules.rtp_bounds
    for paytable in offered.values():
        for picks in range(1, PICKS_MAX + 1):
            if not low <= paytable.rtp[picks] <= high:
                raise RulesError(
                    f"{paytable.name} returns {paytable.rtp[picks]} for {picks} picks, outside of {low}..{high}"
                )
    for code, limits in rules.currencies.items():
        _check_limits(code, limits)
        for paytable in offered.values():
            _check_payouts(code, limits, paytable)


def _check_fairness(rules: RoomRules) -> None:
    if not GUARD_MS_MIN <= rules.guard_ms <= GUARD_MS_MAX:
        raise RulesError(f"guard_ms is {rules.guard_ms}, outside of {GUARD_MS_MIN}..{GUARD_MS_MAX}")
    if rules.profile == "S":
        if rules.beacon_chain is not None:
            raise RulesError("profile S has no beacon, but the rules name a beacon_chain")
    elif rules.beacon_chain is None or not _HASH_PATTERN.fullmatch(rules.beacon_chain):
        raise RulesError(f"profile {rules.profile} needs the hash of its beacon_chain, not {rules.beacon_chain!r}")
    low, high = rules.rtp_bounds
    if not 0 < low <= high <= 1:
        raise RulesError(f"rtp_bounds {low}..{high} are not 0 < low <= high <= 1")


def _check_offer(rules: RoomRules, offered: Mapping[bytes, Paytable]) -> None:
    if not rules.paytables or not rules.currencies:
        raise RulesError("a room offers at least one paytable and one currency")
    if len(set(rules.paytables)) != len(rules.paytables):
        raise RulesError("a paytable is offered twice")
    if offered.keys() != set(rules.paytables):
        raise RulesError("the paytables to check are not those that the rules offer")
    if len(rules.paytables) * len(rules.currencies) > TERMS_MAX:
        raise RulesError(f"a room offers at most {TERMS_MAX} pairs of paytable and currency")


def _check_limits(code: str, limits: CurrencyRules) -> None:
    known = CURRENCIES.get(code)
    if known is None:
        raise RulesError(f"unknown currency {code!r}")
    if limits.exponent != known.exponent:
        raise RulesError(f"the exponent of {code} is {known.exponent}, not {limits.exponent}")
    step = limits.stake_step_minor
    if not 1 <= step <= limits.stake_min_minor <= limits.stake_max_minor <= limits.win_max_minor <= MINOR_MAX:
        raise RulesError(f"limits of {code} are not 1 <= step <= stake min <= stake max <= win max <= {MINOR_MAX}")
    if limits.stake_min_minor % step or limits.stake_max_minor % step:
        raise RulesError(f"the stake limits of {code} are not multiples of its step of {step} minor units")
    round_win_max = limits.round_win_max_minor
    if round_win_max is not None and not limits.win_max_minor <= round_win_max <= MINOR_MAX:
        raise RulesError(f"the maximum win a round of {code} is not from its win max a bet to {MINOR_MAX}")


def _check_payouts(code: str, limits: CurrencyRules, paytable: Paytable) -> None:
    """Every win of every allowed stake is a whole number of minor units and fits the largest amount.

    Stakes are multiples of the step. Were step x multiplier not a multiple of the scale, rounding payouts down would
    return less than the paytable states.
    """
    for picks, row in enumerate(paytable.multipliers):
        for hits, multiplier in enumerate(row):
            if limits.stake_step_minor * multiplier % paytable.scale:
                raise RulesError(
                    f"{paytable.name} does not pay whole minor units for {hits} hits of {picks} picks "
                    f"at a step of {limits.stake_step_minor} minor units of {code}"
                )
            if limits.stake_max_minor * multiplier // paytable.scale > MINOR_MAX:
                raise RulesError(
                    f"{paytable.name} can win more than {MINOR_MAX} minor units of {code} before the maximum win"
                )


def _fraction(text: str) -> Fraction:
    match = _FRACTION_PATTERN.fullmatch(text)
    if match is None:
        raise RulesError(f"{text!r} is not a fraction such as 187/200")
    return Fraction(int(match[1]), int(match[2]))
