"""What every request passes first: its id, what its body is asked for, and what is counted and logged of it."""

import asyncio
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
from app.core.admission import admit, too_large
from app.core.caller import authenticated
from app.core.errors import Problem, on_failure, render, route_of
from app.core.logs import request_id
from app.core.methods import as_get
from app.core.settings import Settings

log = structlog.get_logger()

SLOW_SECONDS = 1.0

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")
_CLOSE = (b"connection", b"close")
_NOTHING: dict[str, object] = {}


class Gateway:
    """ASGI middleware. It costs a request a few microseconds, since polls are answered by the thousand."""

    def __init__(self, app: ASGIApp, *, settings: Settings, monotonic: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._settings = settings
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
        own_id = None
        has_body = False
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                if _GIVEN_ID.fullmatch(value):
                    own_id = value
            elif name == b"transfer-encoding" or (name == b"content-length" and value != b"0"):
                has_body = True
        if own_id is None:
            own_id = b"%s-%x" % (self._prefix.encode(), next(self._ids))
        request_id.set(own_id.decode())
        asked, is_head = scope, scope["method"] == "HEAD"
        body: _Body | None = None
        status = 0
        is_stream = is_ended = False

        async def answer(message: Message) -> None:
            nonlocal status, is_stream, is_ended
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", own_id), _NO_SNIFFING]
                if body is not None:
                    body.is_answered = True
                    if not body.is_read:
                        headers.append(_CLOSE)
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
            elif is_head:
                # The first piece ends the answer; a stream then sees that its client has gone.
                if is_ended:
                    return
                is_ended = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        metrics.IN_FLIGHT.inc()
        try:
            # No id has such bytes, and PostgreSQL takes no NUL.
            if not scope["path"].isprintable():
                await render(Problem(problems.NOT_FOUND), Request(scope))(scope, receive, answer)
                return
            if scope.get("state", _NOTHING).get("is_crowded") and not await _has_signed_in(scope):
                most = self._settings.connections_per_address
                refusal = Problem(
                    problems.CONNECTIONS_TOO_MANY, headers={"Retry-After": "5", "Connection": "close"}, most=most
                )
                await render(refusal, Request(scope))(scope, receive, answer)
                return
            if is_head:
                asked = as_get(scope)
            if has_body:
                receive = body = _Body(asked, receive, self._settings)
            await self._app(asked, receive, answer)
        except ClientDisconnect:
            # Phones on bad links do this all day: nobody is left to answer.
            return
        except Exception as error:
            # The framework's own last handler stands outside of this one and would answer without the id.
            response = await on_failure(Request(asked), error)
            if status:
                raise
            await response(scope, receive, answer)
        finally:
            metrics.IN_FLIGHT.dec()
            if is_stream:
                metrics.STREAMS.dec()
            # No answer: the client has gone.
            self._account(scope["method"], asked, status or 499, self._monotonic() - began, is_stream)

    def _account(self, method: str, scope: Scope, status: int, seconds: float, is_stream: bool) -> None:
        # Every other path would be a new series.
        route = route_of(scope)
        method = method if method in _METHODS else "other"
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


async def _has_signed_in(scope: Scope) -> bool:
    try:
        await authenticated(Request(scope))
    except Problem:
        return False
    return True


class _Body:
    """The body of one request as the application receives it: refused on the headers, or limited in size and time.

    A Problem (401, 403, 413, 415, 408) when it is asked for.
    """

    __slots__ = ("_limit", "_receive", "_scope", "_settings", "_taken", "_until", "is_answered", "is_read")

    def __init__(self, scope: Scope, receive: Receive, settings: Settings) -> None:
        self._scope, self._receive, self._settings = scope, receive, settings
        self._limit = self._taken = 0
        self._until: float | None = None
        self.is_read = self.is_answered = False

    async def __call__(self) -> Message:
        # What follows the body, or the answer, is only the news that the client has gone.
        if self.is_read or self.is_answered:
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._until is None:
            self._limit = self._settings.body_limit(self._scope["path"])
            await admit(Request(self._scope), limit=self._limit)
            self._until = loop.time() + self._settings.body_seconds
        rate = self._settings.body_bytes_per_second
        try:
            async with asyncio.timeout_at(self._until + self._taken / rate):
                message = await self._receive()
        except TimeoutError:
            raise Problem(problems.BODY_SLOW, seconds=f"{self._settings.body_seconds:g}", rate=rate) from None
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            if self._taken > self._limit:
                raise too_large(self._limit)
            self.is_read = not message.get("more_body", False)
        return message
