"""Log lines: one per thing that happened to the service, never per event, never with personal data.

On a terminal they are short and coloured, elsewhere one JSON object a line. Control characters are escaped, so that
nobody writes a line in our name. An exception that nobody expected is logged with where it happened; its message may
quote what a client sent, so what looks like an address or a token is taken out of it.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import Any

import structlog

REMOVED = "[removed]"
_TELLING = re.compile(r"[^\s@'\"<>]+(?:@|%40)[^\s@'\"<>]+|\b\d{1,3}(?:\.\d{1,3}){3}\b|[A-Za-z0-9_.+=-]{32,}")
"""Mail and network addresses, tokens. Cut too much rather than too little: the place of the error is left whole."""


def configure_logs(role: str, level: str = "info", form: str = "auto") -> None:
    """Set the process's logs up.

    `form`: `text`, `json`, or `auto` (text where standard error is a terminal).
    """
    text = form == "text" or (form == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if text else structlog.processors.JSONRenderer()
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _clean,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level.upper()),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(role=role)
    # Libraries that log by the standard way (uvicorn above all) go through the same renderer.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    # urllib3 names the addresses that it asks again, and bound parameters travel in them. Here and not by its level,
    # which a library that uses it sets anew.
    handler.addFilter(lambda record: record.levelno >= logging.ERROR or not record.name.startswith("urllib3"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return the process's logger; key-value pairs are given as keyword arguments."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger


def _clean(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape control characters in what a library says, and reduce what an exception quotes."""
    event = line.get("event")
    if isinstance(event, str) and not event.isprintable():
        line["event"] = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in event)
    exception = line.get("exception")
    if isinstance(exception, str):
        # Lines of the traceback itself, file and source, are indented.
        line["exception"] = "\n".join(
            part if part.startswith("  ") else _TELLING.sub(REMOVED, part) for part in exception.splitlines()
        )
    return line
