"""Every call that is answered over HTTP: who may call it, what it takes, what it gives, and what can be wrong.

A test holds this table against the routes of the servers, and a fuzzer against what they answer.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, NamedTuple

from msgspec import Meta

from gateway.answers import JSON, JSON_LINES
from gateway.rest.reports import CSV, GROUPING
from gateway.rest.rooms import PAGE_ROUNDS, PAGE_ROUNDS_MAX
from gateway.rest.statement import PAGE_ENTRIES, PAGE_ENTRIES_MAX
from keno import shapes
from keno.bets.limits import PlayerLimits
from keno.bets.player_request import PlayerBetRequest
from keno.bets.request import BATCH_BETS_MAX, StrictBet
from keno.fairness.seen import SeenRequest
from keno.fairness.verdicts import EvidenceRequest
from keno.identity.access import KeyRequest, NetworksRequest
from keno.identity.launch import ExchangeRequest, LaunchRequest, RefreshRequest
from keno.identity.staff import LoginRequest
from keno.requests import ID_MAX, CurrencyCode, Grouping, PlayerReference, ReportTime
from keno.wallet.request import MovementRequest, RollbackRequest

Access = Literal["signed", "player", "staff", "pages", "open"]
"""`pages` is open to everyone, but to no page of an origin that may not call."""
HTML: Final = "text/html"
TEXT: Final = "text/plain"
BYTES: Final = "application/octet-stream"


class BetBatch(shapes.Shape, forbid_unknown_fields=True):
    """Bets, each answered for itself: what is not a bet is refused in its result and changes nothing for the others."""

    bets: Annotated[list[StrictBet], Meta(min_length=1, max_length=BATCH_BETS_MAX)]


class BetResults(shapes.Shape):
    """A result for each bet of the batch, in their order: accepted, or (added by `forms`) refused."""

    results: list[shapes.AcceptedBet]


class Query(NamedTuple):
    """A parameter of a query; `form` is a type that msgspec knows."""

    name: str
    form: Any
    does: str
    required: bool = False
    default: int | str | None = None
    format: str | None = None


class Call(NamedTuple):
    """A call. `codes` are those that neither its access nor its body brings with it; `or_media_type` is of the same
    answer as text, where Accept prefers that.
    """

    method: str
    path: str
    name: str
    tag: str
    does: str
    access: Access
    answer: Any = None
    status: int = 200
    body: Any = None
    query: tuple[Query, ...] = ()
    codes: tuple[str, ...] = ()
    replayed: bool = False
    media_type: str = JSON
    or_media_type: str | None = None


_BET_CODES: Final = (
    "transaction_conflict", "round_not_found", "room_not_found", "round_not_open", "room_closed",
    "currency_not_offered", "paytable_not_offered", "player_blocked", "limit_reached", "insufficient_funds",
    "overloaded",
)  # fmt: skip
_MOVE_CODES: Final = ("transaction_conflict", "currency_not_offered", "player_not_found")
_ADD_KEY_CODES: Final = ("public_key_invalid", "key_exists", "key_limit")
_REVOKE_KEY_CODES: Final = ("key_not_found", "last_key")
_OF_OPERATOR_CODES: Final = ("role_not_allowed", "operator_not_found")
_ROUNDS_PAGE: Final = (
    Query("before", Annotated[int, Meta(ge=1, le=ID_MAX)], "The `next_before` of the page before."),
    Query("limit", Annotated[int, Meta(ge=1, le=PAGE_ROUNDS_MAX)], "Rounds of a page at most.", default=PAGE_ROUNDS),
)
_ENTRIES_PAGE: Final = (
    Query("before", str, "The `next_before` of the page before; never made by yourself.", format="page-place"),
    Query("limit", Annotated[int, Meta(ge=1, le=PAGE_ENTRIES_MAX)], "Entries of a page at most.", default=PAGE_ENTRIES),
)

_OPERATOR: Final = (
    Call("POST", "/v1/bets", "place_bet", "Bets", "Place a bet", "signed", shapes.PlacedBet, 201,
         StrictBet, codes=_BET_CODES, replayed=True),
    Call("POST", "/v1/bets/batch", "place_bets", "Bets", "Place up to 1,000 bets", "signed", BetResults, 200,
         BetBatch, codes=("overloaded",)),
    Call("GET", "/v1/bets/{bet_id}", "bet", "Bets", "A bet, and its result once its round is settled", "signed",
         shapes.StoredBet, codes=("bet_not_found",)),
    Call("GET", "/v1/bets", "bets", "Bets", "The bets of a player, of a round, or both, newest first", "signed",
         shapes.StoredBets, codes=("player_not_found", "round_not_found"), query=(
             Query("player", PlayerReference, "The player; this or `round` is required."),
             Query("round", Annotated[int, Meta(ge=1, le=ID_MAX)], "Only bets of the round with this id."),
             *_ENTRIES_PAGE)),
    Call("PUT", "/v1/players/{player}/limits", "limit_player", "Bets", "What a player may bet in a round", "signed",
         shapes.PlayerLimitsSet, 200, PlayerLimits, codes=("player_not_found",)),
    Call("GET", "/v1/rooms", "rooms", "Rooms and rounds", "The shared rooms and your own", "signed", shapes.Rooms),
    Call("GET", "/v1/rooms/{room}", "room", "Rooms and rounds", "A room", "signed", shapes.Room,
         codes=("room_not_found",)),
    Call("GET", "/v1/rooms/{room}/rounds", "rounds", "Rooms and rounds", "A room's rounds, newest first", "signed",
         shapes.Rounds, query=_ROUNDS_PAGE, codes=("room_not_found",)),
    Call("GET", "/v1/rounds/{round_id}", "round", "Rooms and rounds", "A round", "signed", shapes.Round,
         codes=("round_not_found",)),
    Call("POST", "/v1/rounds/{round_id}/seen", "countersign", "Rooms and rounds", "Countersign a lock", "signed",
         shapes.SeenLock, 201, SeenRequest, replayed=True,
         codes=("round_not_found", "round_not_locked", "lock_differs", "key_not_found", "seen_invalid",
                "seen_before")),
    Call("POST", "/v1/wallets/{player}/deposits", "deposit", "Wallets", "Money for a player", "signed",
         shapes.MovedMoney, 201, MovementRequest, codes=(*_MOVE_CODES, "balance_limit"), replayed=True),
    Call("POST", "/v1/wallets/{player}/withdrawals", "withdraw", "Wallets", "Money from a player", "signed",
         shapes.MovedMoney, 201, MovementRequest, codes=(*_MOVE_CODES, "insufficient_funds"), replayed=True),
    Call("POST", "/v1/wallet-transactions/{transaction_id}/rollback", "roll_back", "Wallets",
         "Undo a deposit or withdrawal, or spend an id that names nothing", "signed", shapes.RolledBack, 201,
         RollbackRequest, replayed=True,
         codes=("transaction_conflict", "insufficient_funds", "balance_limit", "already_rolled_back", "bet_stands",
                "rollback_stands")),
    Call("GET", "/v1/wallets/{player}", "balances", "Wallets", "What a player holds", "signed", shapes.Balances,
         codes=("player_not_found",)),
    Call("GET", "/v1/wallet-transactions", "statement", "Wallets", "A player's statement, newest first", "signed",
         shapes.Statement, codes=("player_not_found",), query=(
             Query("player", PlayerReference, "The player.", required=True),
             Query("currency", CurrencyCode, "Only what moved this currency."), *_ENTRIES_PAGE)),
    Call("GET", "/v1/reports/revenue", "revenue", "Reports", "Turnover, payout, revenue and return of settled rounds",
         "signed", shapes.RevenueReport, codes=("invalid_period",), or_media_type=CSV, query=(
             Query("from", ReportTime, "The first day, or hour, in UTC.", required=True),
             Query("to", ReportTime, "The day, or hour, at whose beginning the report ends, in UTC.", required=True),
             Query("group_by", Grouping, "Of what there is a row for each currency.", default=GROUPING))),
    Call("POST", "/v1/sessions", "launch", "Sessions", "Launch a player", "signed", shapes.Launched, 201, LaunchRequest,
         codes=("room_not_found", "room_closed", "player_blocked", "currency_not_offered")),
    Call("DELETE", "/v1/sessions/{session_id}", "end_session", "Sessions", "End a session or launch", "signed",
         shapes.SessionEnded, codes=("session_not_found",)),
    Call("DELETE", "/v1/players/{player}/sessions", "end_sessions", "Sessions", "End all sessions of a player",
         "signed", shapes.PlayerSessionsEnded, codes=("player_not_found",)),
    Call("GET", "/v1/keys", "keys", "Keys and networks", "Your keys", "signed", shapes.Keys),
    Call("POST", "/v1/keys", "add_key", "Keys and networks", "Add a key", "signed", shapes.AddedKey, 201, KeyRequest,
         codes=_ADD_KEY_CODES, replayed=True),
    Call("DELETE", "/v1/keys/{key_id}", "revoke_key", "Keys and networks", "Revoke a key for good", "signed",
         shapes.Key, codes=_REVOKE_KEY_CODES),
    Call("GET", "/v1/networks", "networks", "Keys and networks", "From where you call", "signed", shapes.Networks),
    Call("PUT", "/v1/networks", "set_networks", "Keys and networks", "Set from where you call", "signed",
         shapes.Networks, 200, NetworksRequest, codes=("own_address_left_out",)),
)  # fmt: skip

_PLAYER: Final = (
    Call("POST", "/v1/auth/exchange", "exchange", "Players", "A ticket for tokens", "pages", shapes.Tokens, 200,
         ExchangeRequest, codes=("ticket_invalid", "session_ended")),
    Call("POST", "/v1/auth/refresh", "refresh", "Players", "A refresh token for the next tokens", "pages",
         shapes.Tokens, 200, RefreshRequest,
         codes=("refresh_token_invalid", "refresh_token_reused", "session_ended")),
    Call("POST", "/v1/auth/logout", "log_out", "Players", "End the session", "pages", shapes.Ended, 200, RefreshRequest,
         codes=("refresh_token_invalid",)),
    Call("GET", "/v1/player/me", "me", "Players", "The session, and its balance", "player", shapes.PlayerState),
    Call("POST", "/v1/player/bets", "place_own_bet", "Players", "Place a bet", "player", shapes.PlacedBet, 201,
         PlayerBetRequest, codes=_BET_CODES, replayed=True),
    Call("GET", "/v1/player/bets/{bet_id}", "own_bet", "Players", "A bet of the player", "player", shapes.StoredBet,
         codes=("bet_not_found",)),
    Call("GET", "/v1/player/history", "history", "Players", "What moved the balance, newest first", "player",
         shapes.History, query=_ENTRIES_PAGE),
    Call("GET", "/v1/player/rooms", "own_rooms", "Players", "The open rooms in which the player may bet", "player",
         shapes.Rooms),
    Call("GET", "/v1/live", "live", "Players", "The live stream: a WebSocket, see the AsyncAPI document", "pages",
         None, 101),
)  # fmt: skip

_STAFF: Final = (
    Call("POST", "/v1/staff/login", "staff_log_in", "Staff", "Log in to the portal", "pages", shapes.StaffToken, 200,
         LoginRequest, codes=("login_failed", "login_locked")),
    Call("POST", "/v1/staff/logout", "staff_log_out", "Staff", "Log out", "staff", shapes.Ended),
    Call("GET", "/v1/staff/me", "staff_me", "Staff", "Who is logged in", "staff", shapes.StaffState),
    Call("GET", "/v1/staff/operators/{operator}/keys", "staff_keys", "Staff", "An operator's keys", "staff",
         shapes.Keys, codes=_OF_OPERATOR_CODES),
    Call("POST", "/v1/staff/operators/{operator}/keys", "staff_add_key", "Staff", "Add a key for an operator", "staff",
         shapes.AddedKey, 201, KeyRequest, codes=(*_OF_OPERATOR_CODES, *_ADD_KEY_CODES), replayed=True),
    Call("DELETE", "/v1/staff/operators/{operator}/keys/{key_id}", "staff_revoke_key", "Staff",
         "Revoke an operator's key for good", "staff", shapes.Key, codes=(*_OF_OPERATOR_CODES, *_REVOKE_KEY_CODES)),
)  # fmt: skip

_OPEN: Final = (
    Call("GET", "/v1/paytables/{digest}", "paytable", "For everyone", "A published paytable, byte for byte", "open",
         dict, codes=("document_not_found",)),
    Call("GET", "/v1/rules/{digest}", "rules", "For everyone", "Published rules of a room, byte for byte", "open",
         dict, codes=("document_not_found",)),
    Call("GET", "/v1/rounds/{round_id}/evidence", "evidence", "For everyone", "What a round is verified from", "open",
         str, codes=("evidence_not_found", "evidence_archived"), media_type=JSON_LINES),
    Call("GET", "/v1/fairness/epochs/{round_id}", "epoch", "For everyone",
         "The commitments of the epoch in which a round lies", "open", shapes.Epoch, codes=("round_not_found",)),
    Call("POST", "/v1/fairness/verify", "verify", "For everyone", "What the verifier says of evidence", "open",
         shapes.Verified, body=EvidenceRequest, codes=("body_too_slow", "body_too_large", "overloaded")),
    Call("GET", "/v1/fairness/log", "log", "The log", "The newest checkpoint of the public log, and its key", "open",
         shapes.LogHead, codes=("log_not_found",)),
    Call("GET", "/v1/fairness/log/rounds/{round_id}", "log_of_round", "The log", "That a round is in the log", "open",
         shapes.LogProof, codes=("log_not_found",)),
    Call("GET", "/v1/fairness/log/entries/{index}", "log_entry", "The log", "An entry, and that it is in the log",
         "open", shapes.LogProof, codes=("log_not_found",)),
    Call("GET", "/v1/fairness/log/consistency", "log_consistency", "The log", "That the log only grew", "open",
         shapes.LogConsistency, codes=("log_not_found",), query=(
             Query("first", Annotated[int, Meta(ge=1, le=ID_MAX)], "The smaller size.", required=True),
             Query("second", Annotated[int, Meta(ge=1, le=ID_MAX)], "The larger size.", required=True))),
    Call("GET", "/v1/fairness/log/anchors", "log_anchor", "The log", "The newest root of the log on Ethereum", "open",
         shapes.LogAnchor, codes=("log_not_found",)),
    Call("GET", "/v1/fairness/log/anchors/{size}", "log_anchor_of_size", "The log",
         "The first anchor that covers so many entries", "open", shapes.LogAnchorOfSize, codes=("log_not_found",)),
    Call("GET", "/log/checkpoint", "log_checkpoint", "The log", "The newest checkpoint (c2sp.org/tlog-checkpoint)",
         "open", str, codes=("log_not_found",), media_type=TEXT),
    Call("GET", "/log/tile/{rest}", "log_tile", "The log", "A tile (c2sp.org/tlog-tiles)", "open", bytes,
         codes=("log_not_found",), media_type=BYTES),
    Call("GET", "/.well-known/jwks.json", "jwks", "For everyone", "Our public keys", "open", shapes.JsonWebKeys),
    Call("GET", "/healthz", "healthz", "For everyone", "Whether the process lives", "open", shapes.Lives),
    Call("GET", "/readyz", "readyz", "For everyone", "Whether the process can serve", "open", shapes.Ready),
    Call("GET", "/openapi.json", "openapi", "For everyone", "This document", "open", dict),
    Call("GET", "/asyncapi-live.json", "asyncapi_live", "For everyone", "The AsyncAPI document of the live stream",
         "open", dict),
    Call("GET", "/asyncapi-events.json", "asyncapi_events", "For everyone", "The AsyncAPI document of the broker",
         "open", dict),
    Call("GET", "/verify", "verify_page", "For everyone", "A page that verifies evidence in the browser", "open", str,
         media_type=HTML),
    Call("GET", "/verify/{name}", "verify_asset", "For everyone", "The page's script, style, and copy to save", "open",
         str, codes=("not_found",), media_type=HTML),
    Call("GET", "/play", "play_page", "For everyone", "The page to which a launched player is sent", "open", str,
         media_type=HTML),
    Call("GET", "/play/{name}", "play_asset", "For everyone", "The page's script and style", "open", str,
         codes=("not_found",), media_type=HTML),
    Call("GET", "/docs", "docs", "For everyone", "This document as a page", "open", str, media_type=HTML),
    Call("GET", "/docs/live", "docs_live", "For everyone", "The live stream as a page", "open", str, media_type=HTML),
    Call("GET", "/docs/events", "docs_events", "For everyone", "The events of the broker as a page", "open", str,
         media_type=HTML),
)  # fmt: skip

CALLS: Final = (*_OPERATOR, *_PLAYER, *_STAFF, *_OPEN)
