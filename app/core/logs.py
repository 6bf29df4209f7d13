"""One log: Beacon's own lines and those of the libraries, as JSON or for a terminal, on stderr."""

import logging
import logging.config
import sys
from contextvars import ContextVar
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.core.settings import Settings

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure(settings: Settings) -> None:
    """Set up the log of this process."""
    logging.config.dictConfig(dict_config(settings))


def dict_config(settings: Settings) -> dict[str, Any]:
    """What `logging.config.dictConfig` needs; a worker process that applies it gets the whole set-up."""
    level = settings.log_level.upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"beacon": {"()": "app.core.logs.formatter", "json": settings.log_json, "level": level}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "beacon"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            # Their own handlers would print what they log a second time.
            "uvicorn": {"handlers": [], "level": level},
            "uvicorn.access": {"handlers": [], "propagate": False},
            # One line a request of the client, with the address it asked.
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
            # Of notification channels, whose addresses hold their tokens.
            "apprise": {"level": "ERROR"},
            "urllib3": {"level": "ERROR"},
        },
    }


def formatter(*, json: bool, level: str) -> logging.Formatter:
    """The formatter of library lines; sets up Beacon's own lines on the way."""
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_request_id,
    ]
    last: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, without_exceptions, last],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        # Looked up line by line: whoever replaces sys.stderr gets the lines.
        logger_factory=lambda *_arguments: structlog.PrintLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, _first_line],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, without_exceptions, last],
    )


def without_exceptions(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """A processor: of an exception only its type is kept, since its text and locals may quote what a person typed."""
    given = event.pop("exc_info", None)
    for key in ("exception", "stack", "stack_info"):
        event.pop(key, None)
    if given is True:
        given = sys.exc_info()
    if isinstance(given, tuple):
        given = given[1]
    if isinstance(given, BaseException):
        event.setdefault("error", type(given).__name__)
    return event


def _with_request_id(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current is not None:
        event.setdefault("request_id", current)
    return event


def _first_line(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    # Asyncio quotes the exception of a lost task in the lines after the first.
    event["event"] = str(event["event"]).partition("\n")[0]
    return event
