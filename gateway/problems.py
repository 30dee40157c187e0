"""Everything that can be wrong with a request: one table of stable codes, answered as RFC 9457 problem details.

A problem's `type` is `/problems/<code>`; `status`, `title` and `remedy` belong to the code and vary with the language
only; `detail` and `field` are about this one request. A client decides by `code`, never by a text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from gateway.answers import Answer
from keno.bets.outcome import Outcome
from keno.errors import KenoError
from keno.identity.access import KeyNotFoundError, LastKeyError
from keno.identity.admission import AdmissionError
from keno.identity.lockout import LockedError, LockoutStoreError
from keno.identity.networks import AddressNotAllowedError
from keno.identity.operators import KeyExistsError, KeyLimitError, PublicKeyError
from keno.identity.service import AuthenticationError
from keno.identity.sessions import SessionError, SessionStoreError
from keno.identity.signature import SignatureError
from keno.identity.staff_service import LoginError, StaffSessionError, StaffStoreError
from keno.identity.tokens import TokenError
from keno.phrases import phrase_of
from keno.requests import RequestError
from keno.risk.service import LimitError
from keno.texts.languages import ENGLISH, Language

PROBLEM_JSON: Final = "application/problem+json"
BODY_BYTES_MAX: Final = 64 * 1024
BATCH_BODY_BYTES_MAX: Final = 512 * 1024
"""A thousand bets with the longest ids and references."""
RETRY_AFTER_S: Final = 1


class Kind(NamedTuple):
    """A kind of problem: its HTTP status, what it is called, and what would be right."""

    status: int
    title: str
    remedy: str


KINDS: Final = MappingProxyType(
    {
        # The request as HTTP
        "not_found": Kind(404, "No such resource", "See the table of calls in the operator API guide."),
        "method_not_allowed": Kind(405, "Method not allowed", "Use a method of the Allow header."),
        "body_too_slow": Kind(408, "Body too slow", "Send the whole body at once."),
        "body_too_large": Kind(
            413, "Body too large", f"Send at most {BODY_BYTES_MAX} bytes, or {BATCH_BODY_BYTES_MAX} in a batch."
        ),
        "unsupported_media_type": Kind(415, "Not JSON", "Send Content-Type: application/json, in UTF-8."),
        "unknown_origin": Kind(421, "Not a host of this service", "Use the host name you were given."),
        "bad_request": Kind(400, "Malformed request", "Send a well-formed HTTP request."),
        # Who it is from
        "signature_missing": Kind(
            401, "Not signed", "Send Signature-Input, Signature and Content-Digest as RFC 9421 and RFC 9530 say."
        ),
        "signature_malformed": Kind(
            401,
            "Not signed as the profile says",
            'Cover "@method" "@target-uri" "content-digest" with created, nonce, keyid and alg, in one signature.',
        ),
        "signature_expired": Kind(401, "Signature too old", "Sign when you send, with a clock that is right."),
        "signature_not_yet_valid": Kind(401, "Signature from the future", "Sign with a clock that is right."),
        "signature_invalid": Kind(401, "Wrong signature", "Sign the method, the URI and the digest as they are sent."),
        "algorithm_mismatch": Kind(401, "Wrong algorithm", "Use the algorithm that the key was registered for."),
        "digest_mismatch": Kind(401, "Body does not match its digest", "Send the very bytes that were digested."),
        "unknown_key": Kind(401, "Unknown key", "Use a keyid that was registered for you."),
        "key_revoked": Kind(401, "Revoked key", "Use your other key, or register a new one."),
        "nonce_replayed": Kind(401, "Nonce used before", "Sign each request, retries too, with a fresh nonce."),
        "too_many_failures": Kind(
            429, "Too many failures", "Sign each request as the profile says; wait Retry-After seconds."
        ),
        "rate_limited": Kind(429, "Too many requests", "Send no more than RateLimit says; wait Retry-After seconds."),
        "operator_suspended": Kind(403, "Operator suspended", "Contact the platform."),
        "address_not_allowed": Kind(403, "Address not allowed", "Call from one of the networks that you have set."),
        # Whether a player is there
        "token_missing": Kind(401, "No access token", "Send Authorization: Bearer and the access token."),
        "token_invalid": Kind(401, "Not an access token", "Send the access token that you were given last."),
        "token_expired": Kind(401, "Access token expired", "Get another one with the refresh token."),
        "session_ended": Kind(401, "Session over", "Have the operator launch the player again; staff log in again."),
        "ticket_invalid": Kind(401, "Ticket not valid", "Have the operator launch the player again."),
        "refresh_token_invalid": Kind(401, "Not a refresh token", "Send the refresh token that you were given last."),
        "refresh_token_reused": Kind(
            401, "Refresh token used before", "Have the operator launch the player again: the session is ended."
        ),
        "login_failed": Kind(401, "Not logged in", "Give name, password and a fresh one-time password."),
        "login_locked": Kind(429, "Too many failed logins", "Wait for Retry-After seconds."),
        "role_not_allowed": Kind(403, "Not for your role", "Ask somebody who has the role."),
        "origin_not_allowed": Kind(403, "Page of another origin", "Call from a page that is allowed to."),
        # What it says
        "malformed_json": Kind(400, "Not JSON", "Send one JSON object in UTF-8."),
        "duplicate_field": Kind(400, "Field given twice", "Give each field once."),
        "unknown_field": Kind(422, "Unknown field", "Send only the fields of this call."),
        "missing_field": Kind(422, "Missing field", "Send every required field of this call."),
        "invalid_request": Kind(422, "Invalid value", "Give the field the type and range that this call states."),
        "invalid_query": Kind(
            422, "Invalid query", "Give each query parameter of this call at most once, in its range."
        ),
        "invalid_period": Kind(
            422,
            "Invalid period",
            "Ask for at most 92 days, by the hour 31, from a day of the calendar to a later time.",
        ),
        "invalid_picks": Kind(422, "Invalid picks", "Pick 1 to 10 different integers from 1 to 80."),
        "invalid_stake": Kind(
            422, "Invalid stake", "Stake an integer of minor units that the room's rules allow for the currency."
        ),
        "invalid_amount": Kind(422, "Invalid amount", "Give a positive integer of minor units, at most 2^53 - 1."),
        # What it asks for
        "round_not_found": Kind(404, "No such round", "Name a round or room of GET /v1/rooms."),
        "room_not_found": Kind(404, "No such room", "Name a room of GET /v1/rooms."),
        "bet_not_found": Kind(404, "No such bet", "Use a bet_id that you were given."),
        "player_not_found": Kind(404, "No such player", "Deposit for the player first."),
        "operator_not_found": Kind(404, "No such operator", "Name an operator that you may see."),
        "key_not_found": Kind(404, "No such key", "Use the key_id of one of the operator's keys."),
        "session_not_found": Kind(404, "No such session", "Use a session_id that you were given."),
        "log_not_found": Kind(404, "Not in the log", "Ask for what the newest checkpoint covers; see /log/checkpoint."),
        "document_not_found": Kind(404, "No such document", "Use a hash that a room, a round or a bet names."),
        "evidence_not_found": Kind(404, "No evidence", "Ask for the evidence of a settled or void round."),
        "evidence_archived": Kind(410, "Evidence archived", "Ask the platform for the archived evidence of the round."),
        "transaction_conflict": Kind(
            409, "Transaction id used for something else", "Use a fresh transaction_id for each new transaction."
        ),
        "key_exists": Kind(409, "Key id taken", "Use a key_id that no key has or had."),
        "public_key_invalid": Kind(422, "No public key", "Send the 32 bytes of an Ed25519 public key in hex."),
        "key_limit": Kind(409, "Two active keys", "Revoke one of the two first."),
        "last_key": Kind(409, "Last key", "Add another key first: without any the operator could sign nothing."),
        "own_address_left_out": Kind(409, "Your own address left out", "Set networks that you call from."),
        "round_not_open": Kind(409, "Round not open", "Bet on a round before its lock, or name the room instead."),
        "round_not_locked": Kind(409, "Round not locked", "Countersign once GET /v1/rounds/{round_id} shows a lock."),
        "lock_differs": Kind(
            409, "Not the lock of this round", "If we showed you this lock, keep what shows it: a round has one lock."
        ),
        "seen_invalid": Kind(
            422, "Wrong countersignature", 'Sign "keno1:seen", the 32 bytes of the lock and u64 seen_ms with key_id.'
        ),
        "seen_before": Kind(409, "Countersigned before", "Nothing is left to do: the first countersignature stands."),
        "room_closed": Kind(409, "Room closed", "Use an open room of GET /v1/rooms."),
        "currency_not_offered": Kind(
            422, "Currency not offered", "Use a currency of yours that the room's rules offer."
        ),
        "paytable_not_offered": Kind(422, "Paytable not offered", "Use a paytable of the room's rules, or none."),
        "player_blocked": Kind(403, "Player blocked", "This player may not bet."),
        "limit_reached": Kind(403, "Limit reached", "Wait until the limits of player and round allow this bet."),
        "insufficient_funds": Kind(409, "Insufficient funds", "Deposit for the player, or ask for less."),
        "balance_limit": Kind(409, "Balance limit", "Keep each balance at or below 2^53 - 1 minor units."),
        "already_rolled_back": Kind(409, "Rolled back before", "Nothing is left to do: this id is void for ever."),
        "bet_stands": Kind(409, "A bet stands", "Wait for the bet's round to end: an accepted bet cannot be undone."),
        "rollback_stands": Kind(
            409,
            "A rollback stands",
            "Make the movement again with a fresh transaction_id: a rollback is not undone.",
        ),
        # What is ours
        "overloaded": Kind(503, "Overloaded", "Retry with the same transaction_id after Retry-After seconds."),
        "unavailable": Kind(503, "Unavailable", "Retry with the same transaction_id after Retry-After seconds."),
        "internal": Kind(500, "Internal error", "Retry with the same transaction_id; report it if it stays."),
    }
)

PLAYER_REMEDIES: Final = MappingProxyType(
    {
        "rate_limited": "Wait a moment, and try again.",
        "token_missing": "Start the game again from your casino.",
        "token_invalid": "Start the game again from your casino.",
        "token_expired": "Load the game again.",
        "session_ended": "Start the game again from your casino.",
        "ticket_invalid": "Start the game again from your casino.",
        "refresh_token_invalid": "Start the game again from your casino.",
        "refresh_token_reused": "Start the game again from your casino, and ask it if you did not open it elsewhere.",
        "origin_not_allowed": "Start the game from your casino.",
        "invalid_picks": "Pick 1 to 10 different numbers from 1 to 80.",
        "invalid_stake": "Choose a stake that the room allows.",
        "round_not_found": "Bet on the next round.",
        "room_not_found": "Choose another room.",
        "transaction_conflict": "Place the bet again.",
        "round_not_open": "Bet on the next round.",
        "room_closed": "Choose another room.",
        "currency_not_offered": "Choose a room that takes your currency.",
        "player_blocked": "You may not bet here; ask your casino.",
        "limit_reached": "Stake less, or wait for the next round.",
        "insufficient_funds": "Stake less, or put money into your account at your casino.",
        "overloaded": "Wait a moment, and try again.",
        "unavailable": "Wait a moment, and look at your bets before you bet again.",
        "internal": "Look at your bets before you bet again; tell your casino if it stays.",
    }
)
"""What players are told instead, who can do nothing about a request but play, wait or ask their casino."""

BEARER_CODES: Final = frozenset(
    {
        "token_missing",
        "token_invalid",
        "token_expired",
        "session_ended",
        "ticket_invalid",
        "refresh_token_invalid",
        "refresh_token_reused",
        "login_failed",
    }
)
"""The codes of a login that is wanting; the others of status 401 are of a signature."""

OUTCOME_CODES: Final = MappingProxyType(
    {
        Outcome.CONFLICT: ("transaction_conflict", "transaction_id"),
        Outcome.ROUND_NOT_FOUND: ("round_not_found", None),
        Outcome.ROUND_NOT_OPEN: ("round_not_open", None),
        Outcome.ROOM_CLOSED: ("room_closed", None),
        Outcome.INVALID_PICKS: ("invalid_picks", "picks"),
        Outcome.CURRENCY_NOT_OFFERED: ("currency_not_offered", "currency"),
        Outcome.INVALID_STAKE: ("invalid_stake", "stake_minor"),
        Outcome.PAYTABLE_NOT_OFFERED: ("paytable_not_offered", "paytable"),
        Outcome.PLAYER_BLOCKED: ("player_blocked", "player"),
        Outcome.LIMIT_REACHED: ("limit_reached", None),
        Outcome.INSUFFICIENT_FUNDS: ("insufficient_funds", "stake_minor"),
        Outcome.OVERLOADED: ("overloaded", None),
    }
)
"""The code, and the field it is about, of each outcome of a bet that is not a bet."""


ERROR_CODES: Final[Mapping[type[KenoError], tuple[str, str | None]]] = MappingProxyType(
    {
        KeyNotFoundError: ("key_not_found", None),
        KeyExistsError: ("key_exists", "key_id"),
        PublicKeyError: ("public_key_invalid", "public_key"),
        KeyLimitError: ("key_limit", None),
        LastKeyError: ("last_key", None),
        AddressNotAllowedError: ("address_not_allowed", None),
        LoginError: ("login_failed", None),
        StaffSessionError: ("session_ended", None),
    }
)
"""The code, and the field it is about, of each error that is a refusal and does not name its code."""


class ProblemError(KenoError):
    """Raised by the gateway's own code to answer with a problem."""

    def __init__(self, code: str, detail: str, field: str | None = None, *, retry_after_s: int | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.field = field
        self.retry_after_s = retry_after_s


def problem(code: str, detail: str | None = None, field: str | None = None, *, language: Language = ENGLISH) -> Answer:
    """The answer for a code of KINDS, in a language; KeyError for any other code."""
    kind = KINDS[code]
    title = language.text(f"{code}.title", kind.title)
    members: dict[str, object] = {
        "type": f"/problems/{code}",
        "title": title,
        "status": kind.status,
        "code": code,
        "detail": language.phrase(detail) if detail else title,
        "remedy": _remedy(code, language),
    }
    if field is not None:
        members["field"] = field
    headers = {"Cache-Control": "no-store", "Content-Language": language.tag}
    if kind.status == 401:
        headers["WWW-Authenticate"] = f'{"Bearer" if code in BEARER_CODES else "Signature"} realm="keno"'
    if kind.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    return Answer(kind.status, msgspec.json.encode(members), PROBLEM_JSON, headers)


def _remedy(code: str, language: Language) -> str:
    if language.player and code in PLAYER_REMEDIES:
        return language.text(f"{code}.player", PLAYER_REMEDIES[code])
    return language.text(f"{code}.remedy", KINDS[code].remedy)


def problem_of(error: KenoError, language: Language = ENGLISH) -> Answer:
    """The answer for an error that a client can cause; `internal` for every other."""
    answered = partial(problem, language=language)
    retry_after_s: int | None = None
    match error:
        case ProblemError():
            answer, retry_after_s = answered(error.code, error.detail, error.field), error.retry_after_s
        case RequestError():
            answer = answered(error.code, error.detail, error.field)
        case SignatureError() | AuthenticationError() | TokenError() | SessionError():
            answer = answered(error.code, error.detail)
        case _ if type(error) in ERROR_CODES:
            code, field = ERROR_CODES[type(error)]
            answer = answered(code, phrase_of(error), field)
        case LockedError():
            answer, retry_after_s = answered("login_locked"), -(-error.wait_ms // 1000)
        case AdmissionError(overloaded=True) | LimitError(overloaded=True):
            answer = answered("overloaded", "requests cannot be authenticated at the moment")
        case AdmissionError() | LimitError() | StaffStoreError() | LockoutStoreError() | SessionStoreError():
            answer = answered("unavailable", "requests cannot be authenticated at the moment")
        case _:
            answer = answered("internal")
    if retry_after_s is not None:
        answer.headers["Retry-After"] = str(retry_after_s)
    return answer
