"""From each receiver's queue to the receiver: tried, with a receipt, until it is taken or given up.

A try is claimed by a lease (its row's next_at), made outside of any transaction, and written down with its receipt
in one. Killed in between, it is made again when the lease has run out, under the same webhook-id.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import structlog
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.clock import Clock
from app.core.database import Contention, Database, DatabaseAway
from app.deliveries import channels, guard, signing
from app.deliveries.fanout import fan_out
from app.deliveries.models import Delivery, Receipt, Receiver
from app.deliveries.retrying import Outcome, next_try, outcome_of
from app.feed import service as feed
from app.feed.service import Event
from app.nodes.models import City

log = structlog.get_logger()

TIMEOUT_SECONDS = 15.0
# A try that has not been written down by then is made again.
LEASE = timedelta(seconds=60)
# Tries of one receiver at once: a slow one holds its own places, and no other's.
WEBHOOK_TRIES, CHANNEL_TRIES = 4, 1
THREADS = 16
STOP_SECONDS = 5.0

Notify = Callable[[str, str, str, float], bool]


@dataclass(frozen=True, slots=True)
class Claimed:
    """One try that is this process's to make."""

    city_id: str
    id: UUID
    receiver_id: UUID
    kind: str
    url: str
    keys: tuple[str, ...]
    type: str
    at: datetime
    urgent: bool
    body: dict[str, Any]
    number: int


class Sender:
    """Makes the tries of this process; each receiver has its own few places."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        private_targets: bool = False,
        timeout: float = TIMEOUT_SECONDS,
        resolve: guard.Resolve = guard.resolve,
        notify: Notify = channels.notify,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._clock = clock
        self._private = private_targets
        self._timeout = timeout
        self._resolve = resolve
        self._notify = notify
        self._draw = draw
        self._running: dict[UUID, set[asyncio.Task[None]]] = defaultdict(set)
        self._client: httpx.AsyncClient | None = None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="channels")
        self._stopping = False

    async def run_due(self) -> datetime | None:
        """Queue what is new, begin the tries that are due; when the next is. It does not wait for the tries."""
        found: list[datetime] = []
        async with self._database.reading() as conn:
            cities = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
        for city_id in cities:
            await fan_out(self._database, city_id=city_id, clock=self._clock)
            for receiver_id, kind, due in await self._waiting(city_id):
                if due > self._clock.now():
                    found.append(due)
                else:
                    self._begin(city_id, receiver_id, kind)
        return min(found, default=None)

    async def settled(self) -> None:
        """Return when no try of this process is under way."""
        while tasks := [task for running in self._running.values() for task in running]:
            await asyncio.wait(tasks)

    async def stop(self) -> None:
        """Let tries that are under way end for a moment, then leave them: their leases run out."""
        self._stopping = True
        tasks = [task for running in self._running.values() for task in running]
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=STOP_SECONDS)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _waiting(self, city_id: str) -> Sequence[tuple[UUID, str, datetime]]:
        """The city's receivers with deliveries to be made: who, of what kind, and when the first is due."""
        query = (
            select(Receiver.id, Receiver.kind, func.min(Delivery.next_at))
            .join(Delivery, (Delivery.city_id == Receiver.city_id) & (Delivery.receiver_id == Receiver.id))
            .where(Receiver.city_id == city_id, Receiver.state == "active", Delivery.state == "pending")
            .group_by(Receiver.id, Receiver.kind)
        )
        async with self._database.reading() as conn:
            return [(one, kind, due) for one, kind, due in await conn.execute(query) if due is not None]

    def _begin(self, city_id: str, receiver_id: UUID, kind: str) -> None:
        """Fill the receiver's places; each goes on until nothing is due."""
        running = self._running[receiver_id]
        places = WEBHOOK_TRIES if kind == "webhook" else CHANNEL_TRIES
        while len(running) < places and not self._stopping:
            task = asyncio.create_task(self._work(city_id, receiver_id))
            running.add(task)
            task.add_done_callback(partial(self._ended, receiver_id))

    def _ended(self, receiver_id: UUID, task: asyncio.Task[None]) -> None:
        running = self._running[receiver_id]
        running.discard(task)
        if not running:
            del self._running[receiver_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery failed", error=type(error).__name__)

    async def _work(self, city_id: str, receiver_id: UUID) -> None:
        """One try after another of one receiver, until none is due."""
        while not self._stopping:
            async with self._database.writing() as conn:
                claimed = await lease(conn, city_id=city_id, receiver_id=receiver_id, now=self._clock.now())
            if claimed is None:
                return
            begun = time.perf_counter()
            outcome = await self._try(claimed)
            milliseconds = int((time.perf_counter() - begun) * 1000)
            await self._write(claimed, outcome, milliseconds)

    async def _write(self, claimed: Claimed, outcome: Outcome, milliseconds: int) -> None:
        for _ in range(3):
            try:
                async with self._database.writing() as conn:
                    await note(
                        conn, claimed, outcome, milliseconds=milliseconds, now=self._clock.now(), draw=self._draw()
                    )
                return
            except (Contention, DatabaseAway):
                # Else the lease runs out, and the receiver gets it once more.
                await asyncio.sleep(0.2)

    async def _try(self, claimed: Claimed) -> Outcome:
        try:
            async with asyncio.timeout(self._timeout):
                return await (self._post(claimed) if claimed.kind == "webhook" else self._tell(claimed))
        except TimeoutError:
            return Outcome("timed_out")
        except guard.ForbiddenTarget:
            return Outcome("forbidden_target")
        except (httpx.HTTPError, OSError):
            return Outcome("unreachable")
        except Exception as error:  # noqa: BLE001  a receiver's odd answer must not stop its queue without a receipt
            log.warning("delivery failed", error=type(error).__name__)
            return Outcome("failed")

    async def _post(self, claimed: Claimed) -> Outcome:
        parts = urlsplit(claimed.url)
        if parts.scheme != "https" and not self._private:
            raise guard.ForbiddenTarget
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        address = await guard.vetted(host, port, resolve=self._resolve, private=self._private)
        raw = signing.message(claimed.type, claimed.at, claimed.body)
        headers = signing.headers(f"msg_{claimed.id.hex}", self._clock.now(), raw, claimed.keys)
        # To the vetted address, under the name that was asked for: for the certificate, and for virtual hosts.
        target = httpx.URL(claimed.url).copy_with(host=address)
        headers["host"] = parts.netloc.rpartition("@")[2]
        headers["user-agent"] = "Beacon"
        async with self._http().stream(
            "POST", target, content=raw, headers=headers, extensions={"sni_hostname": host}
        ) as response:
            return outcome_of(response.status_code, response.headers.get("retry-after"))

    async def _tell(self, claimed: Claimed) -> Outcome:
        named = channels.host_of(claimed.url)
        if named is not None:
            await guard.vetted(*named, resolve=self._resolve, private=self._private)
        title, text = channels.text_of(claimed.type, claimed.body)
        loop = asyncio.get_running_loop()
        taken = await loop.run_in_executor(self._threads, self._notify, claimed.url, title, text, self._timeout * 0.9)
        return Outcome("delivered" if taken else "refused")

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            # Nothing is kept: the next try may have to go to another address.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
            self._client = httpx.AsyncClient(
                timeout=self._timeout, follow_redirects=False, trust_env=False, limits=limits
            )
        return self._client


async def lease(conn: AsyncConnection, *, city_id: str, receiver_id: UUID, now: datetime) -> Claimed | None:
    """Claim the receiver's next due delivery for a while; None when none is due, or others are at them all."""
    receiver = (
        await conn.execute(
            select(Receiver.kind, Receiver.url, Receiver.secrets).where(
                Receiver.city_id == city_id, Receiver.id == receiver_id, Receiver.state == "active"
            )
        )
    ).one_or_none()
    if receiver is None:
        return None
    row = (
        await conn.execute(
            select(*Delivery.__table__.columns)
            .where(
                Delivery.city_id == city_id,
                Delivery.receiver_id == receiver_id,
                Delivery.state == "pending",
                Delivery.next_at <= now,
            )
            .order_by(Delivery.next_at, Delivery.seq)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
    ).one_or_none()
    if row is None:
        return None
    await conn.execute(
        update(Delivery).where(Delivery.city_id == city_id, Delivery.id == row.id).values(next_at=now + LEASE)
    )
    return Claimed(
        city_id,
        row.id,
        receiver_id,
        receiver.kind,
        receiver.url,
        tuple(signing.good(receiver.secrets, now)),
        row.type,
        row.at,
        row.urgent,
        row.body,
        row.tries + 1,
    )


async def note(
    conn: AsyncConnection, claimed: Claimed, outcome: Outcome, *, milliseconds: int, now: datetime, draw: float
) -> None:
    """Write down what a try came to: its receipt, and the delivery's next try, or its end."""
    mine = (Delivery.city_id == claimed.city_id, Delivery.id == claimed.id)
    row = (await conn.execute(select(Delivery.state, Delivery.tries).where(*mine).with_for_update())).one_or_none()
    if row is None or row.tries >= claimed.number or row.state != "pending":
        # Its lease had run out and another has written it down, or it was deleted.
        return
    receipt = {
        "city_id": claimed.city_id,
        "delivery_id": claimed.id,
        "number": claimed.number,
        "at": now,
        "status": outcome.status,
        "outcome": outcome.word,
        "milliseconds": milliseconds,
    }
    await conn.execute(insert(Receipt), [receipt])
    again = None
    if outcome.word not in ("delivered", "gone"):
        again = next_try(claimed.number, urgent=claimed.urgent, outcome=outcome, now=now, draw=draw)
    state = "delivered" if outcome.word == "delivered" else "pending" if again else "failed"
    await conn.execute(update(Delivery).where(*mine).values(state=state, tries=claimed.number, next_at=again))
    if state == "failed":
        await _disable(conn, claimed, outcome, now)


async def _disable(conn: AsyncConnection, claimed: Claimed, outcome: Outcome, now: datetime) -> None:
    """Nothing more is sent, and its owner is told another way: in the city's log."""
    why = (
        "It answered 410: it wants no more."
        if outcome.word == "gone"
        else f"It took nothing in {claimed.number} tries; the last: {outcome.word}."
    )
    row = (
        await conn.execute(
            update(Receiver)
            .where(Receiver.city_id == claimed.city_id, Receiver.id == claimed.receiver_id, Receiver.state == "active")
            .values(state="disabled", reason=why)
            .returning(Receiver.node_code, Receiver.label, Receiver.kind, Receiver.drills)
        )
    ).one_or_none()
    if row is None:
        return
    body = {"id": str(claimed.receiver_id), "kind": row.kind, "label": row.label, "reason": why}
    event = Event("receiver.disabled", "delivery", claimed.receiver_id, 1, row.node_code, body)
    await feed.append(conn, city_id=claimed.city_id, operations=[[event]], now=now)
