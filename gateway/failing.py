"""Answers for whatever was raised, and the log of what is ours to mend."""

from __future__ import annotations

import structlog

from gateway.answers import Answer
from gateway.problems import problem, problem_of
from keno.errors import KenoError
from keno.infra.transient import is_transient
from keno.texts.languages import ENGLISH, Language

_log = structlog.get_logger("gateway")


def answer_to(error: Exception, method: str, route: str | None, language: Language = ENGLISH) -> Answer:
    """The answer to a request that ended with `error`; what is not the client's doing is logged.

    `route` is the template and not the path, which can name a player.
    """
    if isinstance(error, KenoError):
        answer = problem_of(error, language)
    elif is_transient(error):
        answer = problem("unavailable", "a server behind the gateway does not answer", language=language)
    else:
        answer = problem("internal", language=language)
    if answer.status >= 500:
        log_failure(error, method, route)
    return answer


def log_failure(error: Exception, method: str, route: str | None) -> None:
    """Logs a failure of ours."""
    _log.error("request.failed", method=method, route=route, exc_info=error)
