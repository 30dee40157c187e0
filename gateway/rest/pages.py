"""The pages for players and for everyone, in the language of who asks. No login; a player's begins in the browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from gateway.answers import Answer
from gateway.http import response
from gateway.problems import ProblemError
from gateway.speech import AnyRequest, language_of
from gateway.web import playing, verifying
from gateway.web.pages import NAMED_BY_HASH, Asset
from gateway.web.verifying import OFFLINE_NAME
from keno.config import Config
from keno.phrases import said
from keno.texts.languages import LANGUAGES, Language
from keno.texts.service import Texts

_PAGE: Final = "public, max-age=300"
_OF_A_LANGUAGE: Final = "private, max-age=300"
"""Caches that are shared would need Vary to name Accept-Language; for pages of other origins, Litestar replaces it."""
_ASKED_EACH_TIME: Final = "no-cache"


def routes(texts: Texts, config: Config) -> list[HTTPRouteHandler]:
    """The handlers, open to everyone."""
    return [*verify_routes(texts), *play_routes(texts, config)]


def verify_routes(texts: Texts) -> list[HTTPRouteHandler]:
    """The page on which anyone's browser verifies rounds."""
    answers = {name: _answer(asset, name) for name, asset in verifying.assets().items()}
    pages = _Pages(lambda language: _answer(verifying.page(language), cache_control=_OF_A_LANGUAGE))

    @get("/verify")
    async def page(request: AnyRequest) -> Response[bytes]:
        return response(pages.of(language_of(texts, request)))

    @get("/verify/{name:str}")
    async def asset(name: FromPath[str]) -> Response[bytes]:
        return response(_found(answers, name))

    return [page, asset]


def play_routes(texts: Texts, config: Config) -> list[HTTPRouteHandler]:
    """The page to which a launched player is sent."""
    answers = {name: _answer(asset, name) for name, asset in playing.assets().items()}

    def made(language: Language) -> Answer:
        all_of_them = [texts.for_locale(tag) for tag in LANGUAGES]
        page = playing.page(language, all_of_them, config.public_origins, config.player_origins, config.live_url)
        return _answer(page, cache_control=_ASKED_EACH_TIME)

    pages = _Pages(made)

    @get("/play")
    async def page(request: AnyRequest) -> Response[bytes]:
        return response(pages.of(language_of(texts, request)))

    @get("/play/{name:str}")
    async def asset(name: FromPath[str]) -> Response[bytes]:
        return response(_found(answers, name))

    return [page, asset]


class _Pages:
    """A page in each language, made anew when a text of it has changed."""

    def __init__(self, made: Callable[[Language], Answer]) -> None:
        self._made = made
        self._known: dict[str, tuple[Language, Answer]] = {}

    def of(self, language: Language) -> Answer:
        known = self._known.get(language.tag)
        # Whatever changes makes all languages anew.
        if known is None or known[0] is not language:
            answer = self._made(language)
            answer.headers.update({"Content-Language": language.tag, "Vary": "Accept-Language"})
            known = self._known[language.tag] = language, answer
        return known[1]


def _found(answers: dict[str, Answer], name: str) -> Answer:
    if name not in answers:
        raise ProblemError("not_found", said("there is no {name!r} here", name=name))
    return answers[name]


def _answer(asset: Asset, name: str = "", *, cache_control: str = _PAGE) -> Answer:
    headers = {
        "Cache-Control": NAMED_BY_HASH if asset.policy is None else cache_control,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    if asset.policy is not None:
        headers["Content-Security-Policy"] = asset.policy
    if name == OFFLINE_NAME:
        headers["Content-Disposition"] = f'attachment; filename="{OFFLINE_NAME}"'
    return Answer(200, asset.body, asset.media_type, headers)
