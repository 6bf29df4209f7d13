"""Receivers of webhooks on loopback, as a test needs them: what they took, and how they answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Taken:
    """One message as it arrived."""

    headers: dict[str, str]
    raw: bytes

    @property
    def said(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.raw)
        return found


@dataclass
class Service:
    """A receiver: `answer` gives status and further headers for its n-th message; `hang` keeps all waiting."""

    url: str = ""
    taken: list[Taken] = field(default_factory=list)
    answer: Callable[[int], tuple[int, dict[str, str]]] = lambda number: (204, {})
    hang: asyncio.Event | None = None
    open_now: int = 0
    open_most: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, is_so: Callable[["Service"], bool]) -> None:
        """Wait for what was taken to be so; a test that waits in vain fails."""
        async with asyncio.timeout(10):
            while not is_so(self):
                self.news.clear()
                await self.news.wait()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            headers = {name.lower(): value for name, value in headers.items()}
            raw = await reader.readexactly(int(headers.get("content-length", 0)))
            self.taken.append(Taken(headers, raw))
            self.news.set()
            if self.hang is not None:
                await self.hang.wait()
            status, more = self.answer(len(self.taken))
            lines = "".join(f"{name}: {value}\r\n" for name, value in more.items())
            writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n{lines}\r\n".encode())
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            # The sender has hung up, as it does after its timeout.
            pass
        finally:
            self.open_now -= 1
            writer.close()


@asynccontextmanager
async def receiving(**how: Any) -> AsyncIterator[Service]:
    """A receiver that listens on loopback meanwhile."""
    service = Service(**how)
    server = await asyncio.start_server(service.handle, "127.0.0.1", 0)
    service.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield service
    finally:
        if service.hang is not None:
            service.hang.set()
        server.close()
