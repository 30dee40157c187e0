"""The commands about what people are told: what each text says in each language, and changes to it."""

from __future__ import annotations

import msgspec
from cyclopts import App

from keno import config
from keno.bootstrap import platform

text = App(name="text", help="What people are told, in each language.")

_ACTOR = "command line"


def register(app: App) -> None:
    """Add these commands to the whole command."""
    app.command(text)


@text.command(name="list")
async def list_texts(language: str | None = None, *, changed: bool = False, json: bool = False) -> int:
    """Show every text with its code, in a language or in all; with --changed only what differs from the catalog."""
    async with platform(config.load()) as services:
        listed = await services.texts.listed(language)
    for each in listed:
        if each.changed or not changed:
            shown = f"{each.language}  {each.text_id}  {each.content}{'  (changed)' if each.changed else ''}"
            print(msgspec.json.encode(each._asdict()).decode() if json else shown)  # noqa: T201
    return 0


@text.command(name="set")
async def set_text(language: str, code: str, content: str) -> int:
    """Say a text otherwise, such as `keno text set de room_closed.title "Raum zu"`; gateways follow within a second."""
    async with platform(config.load()) as services:
        await services.texts.set(language, code, content, actor=_ACTOR)
    return 0


@text.command(name="reset")
async def reset_text(language: str, code: str) -> int:
    """Say a text as the catalog does."""
    async with platform(config.load()) as services:
        await services.texts.reset(language, code, actor=_ACTOR)
    return 0
