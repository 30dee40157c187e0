"""Which language a request of the REST API is answered in."""

from __future__ import annotations

from typing import Any

from litestar import Request

from keno.identity.sessions import Session
from keno.texts.languages import Language
from keno.texts.service import Texts

AnyRequest = Request[Any, Any, Any]


def language_of(texts: Texts, request: AnyRequest) -> Language:
    """What its Accept-Language asks for; where it has none, the language of the player's session."""
    asked = [value.decode("latin-1") for name, value in request.scope["headers"] if name == b"accept-language"]
    user = request.scope.get("user")
    if not asked and isinstance(user, Session):
        return texts.for_locale(user.locale)
    return texts.for_header(asked)
