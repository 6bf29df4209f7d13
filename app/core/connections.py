"""Clients' connections as the server holds them: how large and how slow the head of a request may be, and how many
connections an address may have before anybody has signed in on them."""

import asyncio
import json
from functools import cache
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.core import problems
from app.core.errors import PROBLEM_JSON, Problem
from app.core.networks import is_within
from app.core.settings import Settings

# What is still coming is taken and dropped for so long, so that the client gets to read why it was refused.
LINGER_SECONDS = 2.0

# Connections of each address on which nobody has signed in, the oldest first.
_strangers: dict[str, dict["Connection", None]] = {}


@cache
def _settings() -> Settings:
    return Settings()


class Connection(HttpToolsProtocol):
    """One client's connection. Requests find in their `state` what they may tell it: `signed_in`, and `is_crowded`."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._settings = _settings()
        self._timer: asyncio.TimerHandle | None = None
        self._address = ""
        self._head_bytes = 0
        self._is_in_head = self._is_lingering = self._is_crowded = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request; where the address has too many strangers, the oldest silent one goes."""
        super().connection_made(transport)
        self._start_timer()
        address = self.client[0] if self.client else ""
        if not address or is_within(address, self._settings.trusted_proxies):
            return
        self._address = address
        strangers = _strangers.setdefault(address, {})
        if len(strangers) >= self._settings.connections_per_address:
            oldest = next(iter(strangers))
            self._is_crowded = not oldest.is_silent
            if oldest.is_silent:
                del strangers[oldest]
                oldest.transport.close()
        strangers[self] = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_timer()
        self._leave_strangers()
        super().connection_lost(exc)

    @property
    def is_silent(self) -> bool:
        """Whether it has no request under way."""
        # None until the first request comes.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        return cycle is None or cycle.response_complete

    def signed_in(self) -> None:
        """Somebody has signed in on it: it counts no more."""
        self._leave_strangers()

    def data_received(self, data: bytes) -> None:
        """Parse what comes; refuse a head that is too large, and wait for the rest of one only so long."""
        if self._is_lingering:
            return
        if self._is_in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._head_bytes > self._settings.header_limit_bytes:
            self._refuse_size()
        elif self._timer is None and self.is_silent and self.timeout_keep_alive_task is None:
            self._start_timer()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        if self._address:
            state: dict[str, Any] = self.scope["state"]
            state["signed_in"], state["is_crowded"] = self.signed_in, self._is_crowded

    def on_headers_complete(self) -> None:
        """Let the application answer, unless the head was too large."""
        self._is_in_head = False
        self._stop_timer()
        if self._is_lingering:
            return
        size, has_body = len(self.url), False
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            has_body = has_body or name in (b"content-length", b"transfer-encoding")
        if size > self._settings.header_limit_bytes:
            self._refuse_size()
            return
        super().on_headers_complete()
        if has_body:
            self.cycle.transport = _Lingering(self)

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        if not self._is_lingering:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The end of a request."""
        if not self._is_lingering:
            super().on_message_complete()

    def linger(self) -> None:
        """Close it once the client has read the answer: what is still coming would make its system drop that."""
        if self._is_lingering or self.transport.is_closing():
            return
        self._is_lingering = True
        self._stop_timer()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._settings.header_seconds, self._be_late)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _be_late(self) -> None:
        self._timer = None
        if self._is_in_head:
            self._refuse(Problem(problems.HEAD_SLOW, seconds=f"{self._settings.header_seconds:g}"))
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse_size(self) -> None:
        limit = self._settings.header_limit_bytes
        self._refuse(Problem(problems.HEAD_TOO_LARGE, limit=limit, extra={"limit": limit}))

    def _refuse(self, problem: Problem) -> None:
        prefers = b"".join(value for name, value in self.headers or () if name == b"accept-language")
        body = json.dumps(
            problem.body("zh" if prefers.lower().startswith(b"zh") else "en"), ensure_ascii=False
        ).encode()
        head = f"content-type: {PROBLEM_JSON}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode()
        self.transport.write(STATUS_LINE[problem.kind.status] + head + body)
        self.linger()

    def _leave_strangers(self) -> None:
        if not self._address:
            return
        strangers = _strangers.get(self._address)
        if strangers is not None:
            strangers.pop(self, None)
            if not strangers:
                del _strangers[self._address]
        self._address, self._is_crowded = "", False


class _Lingering(asyncio.Transport):
    """What a request with a body answers on: closed before the body has come, the connection lingers."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection, self._cycle = connection, connection.cycle

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._connection.transport.write(data)

    def is_closing(self) -> bool:
        return self._connection.transport.is_closing()

    def close(self) -> None:
        if self._cycle.more_body:
            self._connection.linger()
        else:
            self._connection.transport.close()
