"""SQL of the texts that staff have changed."""

from __future__ import annotations

from keno.infra.postgres import Connection, Executor

_TEXTS_LOCK = -7333


async def changed_texts(conn: Executor) -> list[tuple[str, str, str]]:
    """Language, id and text of each that is said otherwise."""
    rows = await conn.fetch(
        "SELECT language, text_id, content FROM texts WHERE content IS NOT NULL ORDER BY language, text_id"
    )
    return [(row["language"], row["text_id"], row["content"]) for row in rows]


async def hold_texts(conn: Connection) -> None:
    """Lets one transaction at a time change texts."""
    await conn.execute("SELECT pg_advisory_xact_lock($1)", _TEXTS_LOCK)


async def changed_text(conn: Executor, language: str, text_id: str) -> str | None:
    """What staff have made of a text."""
    found: str | None = await conn.fetchval(
        "SELECT content FROM texts WHERE language = $1 AND text_id = $2", language, text_id
    )
    return found


async def set_text(conn: Executor, language: str, text_id: str, content: str | None) -> None:
    """Say a text otherwise; with None as the catalog does."""
    await conn.execute(
        "INSERT INTO texts (language, text_id, content) VALUES ($1, $2, $3) "
        "ON CONFLICT (language, text_id) DO UPDATE SET content = excluded.content, changed_ms = now_ms()",
        language,
        text_id,
        content,
    )
