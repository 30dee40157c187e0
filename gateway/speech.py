"""Which language a request of the REST API is answered in."""

from __future__ import annotations

from typing import Any, Final

from litestar import Request

from keno.identity.sessions import Session
from keno.texts.languages import Language
from keno.texts.service import Texts

_OF_PLAYERS: Final = ("/v1/player/", "/v1/auth/")

AnyRequest = Request[Any, Any, Any]


def language_of(texts: Texts, request: AnyRequest) -> Language:
    """What its Accept-Language asks for; where it has none, the language of the player's session. Calls of players are
    answered for players.
    """
    asked = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"accept-language"]
    user = request.scope.get("user")
    of_session = not asked and isinstance(user, Session)
    language = texts.for_locale(user.locale) if of_session else texts.for_header(asked)
    return language.to_players() if request.scope["path"].startswith(_OF_PLAYERS) else language
