"""The link to the server, which fails: one request at a time, and when to come again."""

import random
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from app.core.clock import Clock
from app.field import answers, retrying
from app.field.session import Session
from app.field.store import writing


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: `retry_at` is when to go on, None when nothing is to be done until something new happens."""

    asked: bool
    retry_at: datetime | None
    needs_sign_in: bool = False
    refused: str | None = None
    """What was asked can never be answered, in the server's words."""


async def ask(client: httpx.AsyncClient, session: Session, request: httpx.Request) -> httpx.Response:
    """Send as the signed-in; when that is refused, renew the sign-in and send once more."""
    signed = session.headers()
    request.headers.update(signed)
    response = await client.send(request)
    if answers.failure(response.status_code, answers.parsed(response.content)).word != "sign_in":
        return response
    refused = signed.get("Authorization", "").removeprefix("Bearer ")
    if not await session.renew(client, refused=refused):
        return response
    request.headers.update(session.headers())
    return await client.send(request)


def rests_until(store: sqlite3.Connection, now: datetime) -> datetime | None:
    """Before this nothing is to be sent: the link failed, or the server asked to wait. None: it does not rest."""
    (at,) = store.execute("SELECT retry_at FROM link").fetchone()
    moment = datetime.fromtimestamp(at, UTC)
    return moment if now < moment <= now + retrying.LONGEST else None


def works(store: sqlite3.Connection) -> None:
    """An answer came."""
    if _tries(store):
        with writing(store):
            store.execute("UPDATE link SET tries = 0, retry_at = 0")


def rest(
    store: sqlite3.Connection, *, clock: Clock, rng: random.Random, response: httpx.Response | None = None
) -> datetime:
    """The link, or the server as a whole, has failed, maybe with `response`: until when nothing is sent.

    Only something new and urgent does not wait for that.
    """
    retry_after = response.headers.get("Retry-After") if response is not None else None
    at = retrying.next_at(_tries(store) + 1, now=clock.now(), draw=rng.random(), retry_after=retry_after)
    with writing(store):
        store.execute("UPDATE link SET tries = tries + 1, retry_at = ?", (at.timestamp(),))
    return at


def _tries(store: sqlite3.Connection) -> int:
    return int(store.execute("SELECT tries FROM link").fetchone()[0])
