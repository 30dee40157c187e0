"""Logs are JSON lines in a pipe and readable on a terminal, and tracebacks keep local variables to themselves."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from keno.infra.telemetry import configure_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def _fail_with_a_secret_in_a_local() -> None:
    token = "s3cret" + "-token"
    raise ValueError(f"a failure of {len(token)} characters")


def _log_a_failure() -> None:
    log = structlog.get_logger("keno.test")
    try:
        _fail_with_a_secret_in_a_local()
    except ValueError:
        log.exception("thing.failed", bet_id=7)


def test_a_pipe_gets_one_json_object_a_line() -> None:
    pipe = io.StringIO()
    configure_logging(stream=pipe)

    structlog.get_logger("keno.test").info("round.settled", round_id="12")
    logging.getLogger("some.library").warning("went %s", "wrong", extra={"peer": "10.0.0.1"})

    ours, theirs = (json.loads(line) for line in pipe.getvalue().splitlines())
    assert (ours["event"], ours["level"], ours["round_id"]) == ("round.settled", "info", "12")
    assert (theirs["event"], theirs["level"], theirs["peer"]) == ("went wrong", "warning", "10.0.0.1")
    assert ours["timestamp"].endswith("Z")


def test_a_traceback_in_a_pipe_is_data_on_one_line_without_local_variables() -> None:
    pipe = io.StringIO()
    configure_logging(stream=pipe)

    _log_a_failure()

    (line,) = pipe.getvalue().splitlines()
    assert json.loads(line)["exception"][0]["exc_value"] == "a failure of 12 characters"
    assert "s3cret" not in line


def test_a_terminal_gets_readable_lines_without_local_variables() -> None:
    terminal = Terminal()
    configure_logging(stream=terminal)

    _log_a_failure()

    assert "thing.failed" in terminal.getvalue()
    assert "a failure of 12 characters" in terminal.getvalue()
    assert "s3cret-token" not in terminal.getvalue()


def test_lines_below_the_level_are_left_out() -> None:
    pipe = io.StringIO()
    configure_logging("warning", stream=pipe)

    structlog.get_logger("keno.test").info("round.settled")
    logging.getLogger("some.library").info("chatter")

    assert pipe.getvalue() == ""
