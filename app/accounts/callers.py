import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from fastapi import Request
from sqlalchemy import bindparam, select

from app.accounts.key_use import KeyUse
from app.accounts.models import Account, ApiKey, Token
from app.accounts.roles import ROLES
from app.accounts.tokens import KEY, digest
from app.core import problems
from app.core.caller import Caller, Lapse, refused
from app.core.clock import Clock, day_of, start_of
from app.core.database import Database
from app.core.settings import Settings
from app.nodes.models import Node
from app.nodes.recorded import closing
from app.nodes.service import TreeChange

MOST = 10_000

_TOKEN = (
    select(
        Account.id,
        Account.username,
        Account.role,
        Account.node_code,
        Account.city_id,
        Account.disabled_at,
        Token.expires_at,
        Token.sign_in_id,
        Node.tier,
        Node.closed_on,
        closing().label("closed_at"),
    )
    .join(Account, Account.id == Token.account_id)
    .join(Node, Node.code == Account.node_code)
    .where(Token.token_hash == bindparam("hash"), Token.kind == "access")
)
_KEY = (
    select(
        ApiKey.id,
        ApiKey.label,
        ApiKey.scopes,
        ApiKey.node_code,
        ApiKey.city_id,
        ApiKey.revoked_at,
        ApiKey.expires_at,
        Node.tier,
        Node.closed_on,
        closing().label("closed_at"),
    )
    .join(Node, Node.code == ApiKey.node_code)
    .where(ApiKey.key_hash == bindparam("hash"))
)


@dataclass(frozen=True, slots=True)
class Revoked:
    """Announced: this sign-in, account or key of an office is good no longer, or no longer for the same."""

    id: UUID
    city_id: str
    node: str


@dataclass(frozen=True, slots=True)
class Replaced:
    """Announced after commit: a sign-in goes on with other tokens."""

    id: UUID


@dataclass(slots=True)
class _Known:
    caller: Caller
    ids: tuple[UUID, ...]
    expires_at: datetime | None
    until: float


def is_closed(closed_on: date | None, now: datetime) -> bool:
    """Whether a node with this closing day no longer exists."""
    return closed_on is not None and closed_on <= day_of(now)


def lapse_of(
    ended_at: datetime | None, closed_on: date | None, closed_at: datetime | None, now: datetime
) -> Lapse | None:
    """Since when a sign-in is good no longer, and why; None while it is good.

    A node is closed from a day on (`closed_on`); nobody there could know before it was recorded (`closed_at`).
    """
    found = []
    if ended_at is not None:
        found.append(Lapse(ended_at, "sign_in_revoked"))
    if is_closed(closed_on, now):
        assert closed_on is not None
        since = start_of(closed_on)
        found.append(Lapse(max(since, closed_at) if closed_at else since, "node_closed"))
    return min(found, key=lambda lapse: lapse.at, default=None)


class Callers:
    """Finds out who asks. What it found is good for `sign_in_cache_seconds`, or until it hears of a revocation.

    A sign-in that has lapsed is found for `hand_in` longer: what was written before may still come.
    """

    def __init__(
        self,
        database: Database,
        *,
        settings: Settings,
        clock: Clock,
        hand_in: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.key_use = KeyUse(clock)
        self._database = database
        self._clock = clock
        self._hand_in = hand_in
        self._seconds = settings.sign_in_cache_seconds
        self._monotonic = monotonic
        self._known: dict[str, _Known] = {}
        self._forgotten = 0

    async def authenticate(self, request: Request) -> Caller:
        """The caller of a request; a Problem (401) when its token or key is missing or not good."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise refused(problems.SIGN_IN_REQUIRED)
        known = self._known.get(token)
        if known is None or known.until <= self._monotonic():
            known = await self._find(token)
        if known.expires_at is not None and known.expires_at <= self._clock.now():
            raise refused(problems.SIGN_IN_INVALID)
        if known.caller.key_id is not None and known.caller.lapse is None:
            self.key_use.note(known.caller.key_id)
        return known.caller

    def heard(self, message: object) -> None:
        """A listener of the database: forget what was revoked here, and everybody when the tree changes."""
        if isinstance(message, TreeChange):
            self.forget_all()
        if isinstance(message, Revoked | Replaced):
            self._forgotten += 1
            self._known = {token: known for token, known in self._known.items() if message.id not in known.ids}

    def forget_all(self) -> None:
        """Look everybody up again: the tree has changed."""
        self._forgotten += 1
        self._known.clear()

    async def _find(self, token: str) -> _Known:
        self._known.pop(token, None)
        forgotten = self._forgotten
        found = await (self._find_key(token) if token.startswith(KEY) else self._find_account(token))
        if found is None:
            raise refused(problems.SIGN_IN_INVALID)
        # What was read before a revocation that was heard meanwhile may be what was revoked.
        if forgotten == self._forgotten:
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[token] = found
        return found

    async def _find_account(self, token: str) -> _Known | None:
        async with self._database.reading() as conn:
            row = (await conn.execute(_TOKEN, {"hash": digest(token)})).one_or_none()
        if row is None:
            return None
        lapse = lapse_of(row.disabled_at, row.closed_on, row.closed_at, self._clock.now())
        caller = Caller(
            row.city_id,
            row.node_code,
            row.tier,
            ROLES[row.role],
            row.username,
            role=row.role,
            account_id=row.id,
            sign_in_id=row.sign_in_id,
            lapse=lapse,
            expires_at=row.expires_at,
        )
        return _Known(
            caller, (row.id, row.sign_in_id), self._expiry(row.expires_at, lapse), self._monotonic() + self._seconds
        )

    async def _find_key(self, token: str) -> _Known | None:
        async with self._database.reading() as conn:
            row = (await conn.execute(_KEY, {"hash": digest(token)})).one_or_none()
        if row is None:
            return None
        lapse = lapse_of(row.revoked_at, row.closed_on, row.closed_at, self._clock.now())
        caller = Caller(
            row.city_id,
            row.node_code,
            row.tier,
            frozenset(row.scopes),
            row.label,
            key_id=row.id,
            lapse=lapse,
            expires_at=row.expires_at,
        )
        return _Known(caller, (row.id,), self._expiry(row.expires_at, lapse), self._monotonic() + self._seconds)

    def _expiry(self, expires_at: datetime | None, lapse: Lapse | None) -> datetime | None:
        ends = [expires_at, lapse.at + self._hand_in if lapse else None]
        return min((end for end in ends if end is not None), default=None)
