"""What is written to the log of requests that fail."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from gateway.failing import answer_to
from gateway.problems import ProblemError
from keno.identity.admission import AdmissionError
from keno.risk.service import LimitError


@pytest.mark.parametrize(
    "error",
    [
        ProblemError("overloaded", "full"),
        AdmissionError("full", overloaded=True),
        LimitError("full", overloaded=True),
    ],
)
def test_who_has_too_much_to_do_writes_a_line_a_refusal_and_no_trace(error: Exception) -> None:
    with capture_logs() as logs:
        assert answer_to(error, "POST", "/v1/bets").status == 503
    assert [(each["event"], each["log_level"], "exc_info" in each) for each in logs] == [
        ("request.overloaded", "warning", False)
    ]


def test_a_failure_of_ours_is_logged_with_where_it_came_from() -> None:
    with capture_logs() as logs:
        assert answer_to(AssertionError("a mistake"), "GET", None).status == 500
    assert [(each["event"], "exc_info" in each) for each in logs] == [("request.failed", True)]


def test_refusals_are_not_logged() -> None:
    with capture_logs() as logs:
        assert answer_to(ProblemError("not_found", "no"), "GET", None).status == 404
    assert logs == []
