"""What every request passes first: its id, the limit of its body, and what is counted and logged of it."""

import itertools
import re
import secrets
import time
from collections.abc import Callable

import structlog
from prometheus_client import Counter, Histogram
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core import metrics, problems
from app.core.errors import Problem, on_failure, render
from app.core.logs import request_id
from app.core.settings import Settings

log = structlog.get_logger()

SLOW_SECONDS = 1.0

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")


class Gateway:
    """ASGI middleware. It costs a request a few microseconds, since polls are answered by the thousand."""

    def __init__(self, app: ASGIApp, *, settings: Settings, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._limit_of = settings.body_limit
        self._monotonic = monotonic
        self._ids = itertools.count(1)
        self._prefix = secrets.token_hex(6)
        # Looking a labelled metric up costs more than counting.
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._durations: dict[tuple[str, str], Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; what the application answers goes out with the request's id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._monotonic()
        own_id = length = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                if _GIVEN_ID.fullmatch(value):
                    own_id = value
            elif name == b"content-length":
                length = value
        if own_id is None:
            own_id = b"%s-%x" % (self._prefix.encode(), next(self._ids))
        request_id.set(own_id.decode())
        status = 0
        is_stream = False

        async def answer(message: Message) -> None:
            nonlocal status, is_stream
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", own_id), _NO_SNIFFING]
                may_store = False
                for name, value in headers:
                    if name == b"cache-control":
                        may_store = True
                    elif name == b"content-type" and value.startswith(b"text/event-stream"):
                        is_stream = True
                        metrics.STREAMS.inc()
                if not may_store:
                    headers.append(_NO_STORE)
                message["headers"] = headers
            await send(message)

        metrics.IN_FLIGHT.inc()
        try:
            if length is not None or scope["method"] not in ("GET", "HEAD"):
                limit = self._limit_of(scope["path"])
                if length is not None and _is_over(length, limit):
                    await render(_too_large(limit), Request(scope))(scope, receive, answer)
                    return
                receive = _limited(receive, limit)
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            # Phones on bad links do this all day: nobody is left to answer.
            return
        except Exception as error:
            # The framework's own last handler stands outside of this one and would answer without the id.
            response = await on_failure(Request(scope), error)
            if status:
                raise
            await response(scope, receive, answer)
        finally:
            metrics.IN_FLIGHT.dec()
            if is_stream:
                metrics.STREAMS.dec()
            # No answer: the client has gone.
            self._account(scope, status or 499, self._monotonic() - began, is_stream)

    def _account(self, scope: Scope, status: int, seconds: float, is_stream: bool) -> None:
        # The template, never the path: a path may hold an id, and every other one would be a new series.
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        counter = self._counters.get((route, method, status))
        if counter is None:
            counter = metrics.REQUESTS.labels(route, method, status)
            self._counters[route, method, status] = counter
        counter.inc()
        # A long poll takes as long as it was asked to.
        is_timed = not is_stream and b"wait=" not in scope["query_string"]
        if is_timed:
            duration = self._durations.get((route, method))
            if duration is None:
                duration = metrics.SECONDS.labels(route, method)
                self._durations[route, method] = duration
            duration.observe(seconds)
        if status >= 400 or (is_timed and seconds > SLOW_SECONDS):
            write = log.warning if status >= 500 else log.info
            write("request", route=route, method=method, status=status, ms=round(seconds * 1000, 1))


def _too_large(limit: int) -> Problem:
    return Problem(problems.BODY_TOO_LARGE, limit=limit)


def _is_over(length: bytes, limit: int) -> bool:
    return not length.isdigit() or len(length) > 18 or int(length) > limit


def _limited(receive: Receive, limit: int) -> Receive:
    left = limit

    async def receive_within() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(limit)
        return message

    return receive_within
