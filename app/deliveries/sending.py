"""From each receiver's queue to the receiver, each in a task of its own: a slow one is waited for by nobody else."""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from uuid import UUID

import httpx
import structlog
from sqlalchemy import exists, select

from app.core.clock import Clock
from app.core.database import Contention, Database, DatabaseAway
from app.deliveries import channels, guard, queue
from app.deliveries.fanout import fan_out
from app.deliveries.models import Receiver
from app.deliveries.queue import Claimed
from app.deliveries.retrying import Outcome
from app.deliveries.trying import TIMEOUT_SECONDS, Notify, Tries
from app.nodes.models import City

log = structlog.get_logger()

STOP_SECONDS = 5.0
WRITES = 3
REST_SECONDS = 0.2


class Sender:
    """Sends what is due, for all cities, beside any number of other processes."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        private_targets: bool = False,
        timeout: float = TIMEOUT_SECONDS,
        resolve: guard.Resolve = guard.resolve,
        transport: httpx.AsyncBaseTransport | None = None,
        notify: Notify = channels.notify,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._clock = clock
        self._tries = Tries(
            clock,
            private_targets=private_targets,
            timeout=timeout,
            resolve=resolve,
            transport=transport,
            notify=notify,
        )
        self._draw = draw
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._stopping = False

    async def run_due(self) -> datetime | None:
        """Queue what is new, begin what is due; when the next is due. It does not wait for the tries."""
        found: list[datetime] = []
        is_told = exists().where(Receiver.city_id == City.city_id, Receiver.state == "active")
        async with self._database.reading() as conn:
            cities = (await conn.execute(select(City.city_id).where(is_told).order_by(City.city_id))).scalars().all()
        for city_id in cities:
            await fan_out(self._database, city_id=city_id, clock=self._clock)
            async with self._database.reading() as conn:
                waiting = await queue.waiting(conn, city_id=city_id)
            for receiver_id, due in waiting:
                if receiver_id in self._running:
                    # Its task goes on until nothing is due; what a receiver waits for then is found at the next poll.
                    continue
                if due > self._clock.now():
                    found.append(due)
                else:
                    self._begin(city_id, receiver_id)
        return min(found, default=None)

    async def settled(self) -> None:
        """Return when no try of this process is under way."""
        while self._running:
            await asyncio.wait(list(self._running.values()))

    async def stop(self) -> None:
        """Let tries that are under way end for a moment, then leave them: their leases run out."""
        self._stopping = True
        tasks = list(self._running.values())
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        await self._tries.close()

    def _begin(self, city_id: str, receiver_id: UUID) -> None:
        if not self._stopping:
            task = asyncio.create_task(self._work(city_id, receiver_id))
            self._running[receiver_id] = task
            task.add_done_callback(partial(self._ended, receiver_id))

    def _ended(self, receiver_id: UUID, task: asyncio.Task[None]) -> None:
        del self._running[receiver_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery failed", error=type(error).__name__)

    async def _work(self, city_id: str, receiver_id: UUID) -> None:
        """One try after another of one receiver, until none is due."""
        while not self._stopping:
            try:
                async with self._database.writing() as conn:
                    claimed = await queue.claim(conn, city_id=city_id, receiver_id=receiver_id, now=self._clock.now())
            except (Contention, DatabaseAway):
                # Nothing was claimed: the next run begins again.
                return
            if claimed is None:
                return
            begun = time.perf_counter()
            outcome = await self._tries.make(claimed)
            await self._note(claimed, outcome, int((time.perf_counter() - begun) * 1000))

    async def _note(self, claimed: Claimed, outcome: Outcome, milliseconds: int) -> None:
        draw = self._draw()
        for _ in range(WRITES):
            try:
                async with self._database.writing() as conn:
                    await queue.note(
                        conn, claimed, outcome, milliseconds=milliseconds, now=self._clock.now(), draw=draw
                    )
                return
            except (Contention, DatabaseAway):
                # Never written down: the lease runs out, and the receiver gets it once more.
                await asyncio.sleep(REST_SECONDS)
