"""A device in the field: its file, its link, and how often it wakes."""

import random
import sqlite3
from dataclasses import dataclass
from datetime import timedelta

import httpx

from app.core.clock import ManualClock
from app.field.courier import Courier
from app.field.inbox import Inbox
from app.field.link import Progress
from app.field.outbox import Outbox
from app.field.session import Fixed, Session, SignIn
from app.field.store import open_store
from tests.field.links import Faults, LossyTransport

URL = "http://beacon.test"


@dataclass
class Device:
    """All of one phone; `wake` is what its owner's pocket does."""

    store: sqlite3.Connection
    outbox: Outbox
    courier: Courier
    inbox: Inbox
    link: LossyTransport
    clock: ManualClock

    async def wake(self) -> Progress:
        """Send what is due."""
        return await self.courier.flush()

    async def deliver(self, *, most: int = 400) -> None:
        """Wake whenever it is time, until all is answered that can be."""
        for _ in range(most):
            done = await self.wake()
            if done.retry_at is None:
                return
            self.clock.advance(max(timedelta(), done.retry_at - self.clock.now()))
        raise AssertionError(f"{self.outbox.waiting()} steps still wait")


def device(
    server: httpx.AsyncBaseTransport,
    *,
    clock: ManualClock,
    session: Session | str | None = None,
    seed: int = 0,
    faults: Faults = Faults(),  # noqa: B008  it cannot change
    path: str = ":memory:",
) -> Device:
    """A new device, or the one that was at `path`, on a link with these faults.

    `session`: a token, or something that signs in; without it, the person's own sign-in that is kept in its file.
    """
    rng = random.Random(seed)
    store = open_store(path, durable=False)
    link = LossyTransport(server, rng=random.Random(rng.random()), faults=faults)
    client = httpx.AsyncClient(transport=link, base_url=URL)
    outbox = Outbox(store, clock=clock)
    if session is None:
        session = SignIn(store, clock=clock)
    elif isinstance(session, str):
        session = Fixed(session)
    courier = Courier(outbox, client, session, clock, rng)
    inbox = Inbox(store, client, session, clock, rng)
    return Device(store, outbox, courier, inbox, link, clock)
