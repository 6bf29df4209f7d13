import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Callable
from uuid import UUID

import asyncpg
import structlog
from fastapi import Request
from sqlalchemy import select

from app.core.database import Database, DatabaseAway
from app.feed.cursors import START, Position
from app.feed.models import FeedHead
from app.feed.service import Advanced

log = structlog.get_logger()

CHANNEL = "beacon_feed"


class Heads:
    """Where each city's log ends, as this process knows it, and who waits for it to grow.

    Fed by this process's own commits, by NOTIFY from other processes on PostgreSQL, and by a slow poll
    underneath: a lost wake-up costs `poll_seconds`, never an event.
    """

    def __init__(
        self, database: Database, *, poll_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._fresh_at = float("-inf")
        self._known: dict[str, Position] = {}
        self._waiters: dict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self._unsent: dict[str, Position] = {}
        self._to_send = asyncio.Event()
        self._stopped = asyncio.Event()

    def heard(self, message: object) -> None:
        """A listener of the database: this process has committed."""
        if isinstance(message, Advanced):
            self._advance(message.city_id, message.position)
            self._unsent[message.city_id] = message.position
            self._to_send.set()

    def latest(self, city_id: str) -> Position | None:
        """The end of the city's log, or None when that is not known for sure and the database must be asked."""
        if self._monotonic() - self._fresh_at > 3 * self._poll_seconds:
            return None
        return self._known.get(city_id, START)

    async def wait(self, city_id: str, *, beyond: Position, seconds: float) -> None:
        """Return when the city's log ends elsewhere than `beyond`, when `seconds` are up, or at shutdown."""
        known = self._known.get(city_id, beyond)
        # Behind or of another epoch means that this process has not caught up: then the next poll wakes.
        is_ahead = known.seq > beyond.seq if known.epoch == beyond.epoch else beyond == START
        if self.stopping or is_ahead:
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters[city_id].add(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            pass
        finally:
            self._waiters[city_id].discard(waiter)

    @property
    def stopping(self) -> bool:
        """Whether open streams should end."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let every waiter go; later ones return at once."""
        self._stopped.set()
        self._to_send.set()
        for city_id in list(self._waiters):
            self._wake(city_id)

    def _wake(self, city_id: str) -> None:
        for waiter in self._waiters.pop(city_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    def _advance(self, city_id: str, position: Position) -> None:
        known = self._known.get(city_id)
        # A poll that started before a commit answers after it: never step back within an epoch.
        if known is None or known.epoch != position.epoch or known.seq < position.seq:
            self._known[city_id] = position
            if known is not None or self._waiters.get(city_id):
                self._wake(city_id)

    async def run(self) -> None:
        """Keep the knowledge fresh until stopped; a query that has begun is finished, so that nothing is left open."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._poll())
            if not self._database.is_sqlite:
                tasks.create_task(self._listen())

    async def refresh(self) -> None:
        """Ask the database once."""
        started = self._monotonic()
        async with self._database.reading() as conn:
            rows = (await conn.execute(select(FeedHead.city_id, FeedHead.epoch, FeedHead.last_seq))).all()
        for row in rows:
            self._advance(row.city_id, Position(row.epoch, row.last_seq))
        self._fresh_at = started

    async def _poll(self) -> None:
        while not self.stopping:
            try:
                await self.refresh()
            except DatabaseAway:
                log.warning("feed poll: database away")
            except Exception as error:  # noqa: BLE001  whatever it was, the next poll may pass: readers depend on it
                log.error("feed poll failed", error=type(error).__name__)
            await self._pause()

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds):
                await self._stopped.wait()

    async def _listen(self) -> None:
        url = self._database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        while not self.stopping:
            try:
                connection = await asyncpg.connect(url, timeout=5)
                try:
                    await connection.add_listener(CHANNEL, self._notified)
                    await self._send(connection)
                finally:
                    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                        await connection.close(timeout=1)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                log.warning("feed listener: database away")
            await self._pause()

    async def _send(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        """Tell the other processes what this one committed: off the intake's path, many commits in one."""
        while not self.stopping:
            await self._to_send.wait()
            self._to_send.clear()
            unsent, self._unsent = self._unsent, {}
            for city_id, position in unsent.items():
                await connection.execute(
                    "SELECT pg_notify($1, $2)", CHANNEL, f"{city_id} {position.epoch.hex} {position.seq}"
                )

    def _notified(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        city_id, epoch, seq = str(payload).split(" ")
        self._advance(city_id, Position(UUID(hex=epoch), int(seq)))


def heads_of(request: Request) -> Heads:
    """The application's knowledge of where the logs end."""
    heads: Heads = request.app.state.heads
    return heads
