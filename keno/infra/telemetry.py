"""Logs: JSON lines in a pipe, readable lines on a terminal, all on standard error.

Events are named `noun.verb_past` and carry ids, never bodies, tokens, keys or personal data: nothing here looks into a
value to hide it, so what must not be logged is not passed to a logger. Libraries that log by `logging` come out the
same way. Not here: metrics, which are declared where they
are measured and served by `workers.health`, and traces.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import Processor

_QUIETER = ("aio_pika", "aiormq", "asyncio", "granian", "httpx")


def configure_logging(level: str = "info", stream: TextIO | None = None) -> None:
    """Sets up this process's logging; the last call counts. `level` is debug, info, warning or error."""
    target = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(target.isatty())],
        )
    )
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name in _QUIETER:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))


def _rendering(on_terminal: bool) -> list[Processor]:
    # Tracebacks without local variables: those hold what must not be logged.
    if on_terminal:
        return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(without_locals), structlog.processors.JSONRenderer()]
