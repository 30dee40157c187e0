"""Answers for whatever was raised, and the log of what is ours to mend."""

from __future__ import annotations

import structlog

from gateway.answers import Answer
from gateway.problems import ProblemError, problem, problem_of
from keno.errors import KenoError
from keno.identity.admission import AdmissionError
from keno.infra.transient import is_transient
from keno.risk.service import LimitError
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
    if _is_overload(error):
        # Not where from: that says nothing, and to write it down costs more than to answer.
        _log.warning("request.overloaded", method=method, route=route, detail=str(error))
    elif answer.status >= 500:
        log_failure(error, method, route)
    return answer


def log_failure(error: Exception, method: str, route: str | None) -> None:
    """Logs a failure of ours."""
    _log.error("request.failed", method=method, route=route, exc_info=error)


def _is_overload(error: Exception) -> bool:
    match error:
        case ProblemError(code="overloaded") | AdmissionError(overloaded=True) | LimitError(overloaded=True):
            return True
    return False
