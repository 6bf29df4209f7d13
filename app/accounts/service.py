import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import marks
from app.accounts.callers import Replaced, Revoked, is_closed, lapse_of
from app.accounts.models import Account, Code, Mark, Token
from app.accounts.tokens import ACCESS, REFRESH, digest, new_token, next_token
from app.core import problems
from app.core.caller import refused
from app.core.database import announce
from app.core.ids import new_id
from app.nodes.models import Node
from app.nodes.recorded import closing

TICK = timedelta(microseconds=1)
# A link that is bad brings requests late and twice. For longer, a thief would go unnoticed beside whom he stole from.
SAME_AGAIN = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Lives:
    """How long tokens are good."""

    access: timedelta
    refresh: timedelta


@dataclass(frozen=True, slots=True)
class Pair:
    """The two tokens of a sign-in, in clear: shown once."""

    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What a try to sign in is held against."""

    account_id: UUID
    password_hash: str
    known_device: bool


async def stored_password(conn: AsyncConnection, *, username: str, device: str | None, now: datetime) -> Stored | None:
    """The account, and whether `device` is known to it; None when there is none, it is disabled, or its node closed."""
    mark = select(Mark.mark_hash).where(Mark.mark_hash == digest(device or ""), Mark.account_id == Account.id)
    row = (
        await conn.execute(
            select(Account.id, Account.password_hash, Node.closed_on, mark.exists().label("known"))
            .join(Node, Node.code == Account.node_code)
            .where(Account.username == username, Account.disabled_at.is_(None))
        )
    ).one_or_none()
    if row is None or is_closed(row.closed_on, now):
        return None
    return Stored(row.id, row.password_hash, bool(row.known))


async def own_password(conn: AsyncConnection, *, account_id: UUID) -> str:
    """The password hash of an account that is signed in."""
    found: str = (await conn.execute(select(Account.password_hash).where(Account.id == account_id))).scalar_one()
    return found


async def is_still(conn: AsyncConnection, *, account_id: UUID, password_hash: str) -> bool:
    """Whether this is still the password of an account in use, which is locked until the transaction ends."""
    query = select(Account.password_hash).where(Account.id == account_id, Account.disabled_at.is_(None))
    found = (await conn.execute(query.with_for_update(key_share=True))).scalar_one_or_none()
    return found == password_hash


async def sign_in(
    conn: AsyncConnection, *, account_id: UUID, device: str | None, lives: Lives, now: datetime
) -> tuple[Pair, str]:
    """New tokens for an account whose password or code was right, and the mark of the device.

    The account's expired tokens are forgotten.
    """
    await conn.execute(delete(Token).where(Token.account_id == account_id, Token.expires_at <= now))
    pair = await _new_pair(conn, account_id=account_id, sign_in_id=new_id(), lives=lives, now=now)
    return pair, await marks.keep(conn, account_id=account_id, given=device, now=now)


async def refresh(conn: AsyncConnection, *, token: str, lives: Lives, hand_in: timedelta, now: datetime) -> Pair | None:
    """Both tokens anew; None when a refresh token that came of this one was used since.

    Then one of two users stole it, and the whole sign-in has been ended: commit that, and answer 401. Used again before
    that, its answer got lost on a bad link, or the link brought the request twice: within `SAME_AGAIN` the same tokens
    are answered again, later others, and the former are good no longer.
    A Problem (401) when it is unknown or expired, or its account was disabled or its node closed longer than
    `hand_in` ago; until then the new tokens are good for handing in what was written before, and nothing else.
    """
    row = (
        await conn.execute(
            select(
                Token.account_id,
                Token.sign_in_id,
                Token.expires_at,
                Account.disabled_at,
                Node.closed_on,
                closing().label("closed_at"),
            )
            .join(Account, Account.id == Token.account_id)
            .join(Node, Node.code == Account.node_code)
            .where(Token.token_hash == digest(token), Token.kind == "refresh")
            .with_for_update(of=Account, key_share=True)
        )
    ).one_or_none()
    if row is None or row.expires_at <= now:
        raise refused(problems.SIGN_IN_INVALID)
    lapse = lapse_of(row.disabled_at, row.closed_on, row.closed_at, now)
    if lapse is not None and lapse.at + hand_in <= now:
        raise refused(problems.SIGN_IN_INVALID)
    # Asked when the account is locked: another may have used it a moment ago.
    mine = select(Token.used_at).where(Token.token_hash == digest(token)).scalar_subquery()
    last = select(func.max(Token.used_at)).where(Token.sign_in_id == row.sign_in_id).scalar_subquery()
    of_mine = select(Token.salt).where(Token.token_hash == digest(token)).scalar_subquery()
    there = select(Token.account_id).where(Token.token_hash == digest(token)).scalar_subquery()
    used_at, last_used, salt, account_id = (await conn.execute(select(mine, last, of_mine, there))).one()
    if account_id is None:
        # The sign-in was ended while this waited for the account.
        raise refused(problems.SIGN_IN_INVALID)
    if used_at not in (None, last_used):
        await _end_sign_in(conn, row.sign_in_id)
        return None
    this, others = Token.token_hash == digest(token), Token.sign_in_id == row.sign_in_id
    if used_at is None or salt is None or used_at + SAME_AGAIN < now:
        salt = secrets.token_urlsafe(32)
        # What was answered before got lost: whoever uses that has not lost it.
        lost = update(Token).where(others, Token.kind == "refresh", Token.used_at.is_(None), ~this)
        await conn.execute(lost.values(used_at=(last_used or now) - TICK))
        # Later than any before, also by the same clock.
        at = max(now, last_used + TICK) if last_used else now
        await conn.execute(update(Token).where(this).values(used_at=at, salt=salt))
    pair = Pair(next_token(ACCESS, token=token, salt=salt), next_token(REFRESH, token=token, salt=salt))
    again = Token.token_hash == digest(pair.refresh)
    await conn.execute(delete(Token).where(others, (Token.kind == "access") | again))
    announce(conn, Replaced(row.sign_in_id))
    await _keep(conn, pair, account_id=row.account_id, sign_in_id=row.sign_in_id, lives=lives, now=now)
    return pair


async def revoke(conn: AsyncConnection, *, token: str) -> None:
    """End the sign-in that this token, of either kind, belongs to; nothing when it is unknown (RFC 7009)."""
    # Refreshing locks the account too: a pair made at the same moment is waited for, and ends as well.
    query = (
        select(Token.sign_in_id)
        .join(Account, Account.id == Token.account_id)
        .where(Token.token_hash == digest(token))
        .with_for_update(of=Account, key_share=True)
    )
    sign_in_id = (await conn.execute(query)).scalar_one_or_none()
    if sign_in_id is not None:
        await _end_sign_in(conn, sign_in_id)


async def prune(conn: AsyncConnection, *, now: datetime) -> int:
    """Forget the tokens and codes that have expired, and long unused marks; answers how many tokens."""
    await conn.execute(delete(Code).where(Code.expires_at <= now))
    await conn.execute(delete(Mark).where(Mark.used_at <= now - marks.KEEP))
    return (await conn.execute(delete(Token).where(Token.expires_at <= now))).rowcount


async def _new_pair(conn: AsyncConnection, *, account_id: UUID, sign_in_id: UUID, lives: Lives, now: datetime) -> Pair:
    pair = Pair(new_token(ACCESS), new_token(REFRESH))
    await _keep(conn, pair, account_id=account_id, sign_in_id=sign_in_id, lives=lives, now=now)
    return pair


async def _keep(
    conn: AsyncConnection, pair: Pair, *, account_id: UUID, sign_in_id: UUID, lives: Lives, now: datetime
) -> None:
    await conn.execute(
        insert(Token),
        [
            {
                "token_hash": digest(token),
                "kind": kind,
                "account_id": account_id,
                "sign_in_id": sign_in_id,
                "expires_at": now + life,
                "used_at": None,
            }
            for token, kind, life in ((pair.access, "access", lives.access), (pair.refresh, "refresh", lives.refresh))
        ],
    )


async def _end_sign_in(conn: AsyncConnection, sign_in_id: UUID) -> None:
    whose = (
        select(Account.city_id, Account.node_code)
        .join(Token, Token.account_id == Account.id)
        .where(Token.sign_in_id == sign_in_id)
        .limit(1)
    )
    row = (await conn.execute(whose)).one_or_none()
    if row is None:
        # Another was first.
        return
    await conn.execute(delete(Token).where(Token.sign_in_id == sign_in_id))
    announce(conn, Revoked(sign_in_id, row.city_id, row.node_code))
