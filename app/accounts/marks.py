"""Marks of devices on which somebody has signed in: strangers never lock them out."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import Mark
from app.accounts.tokens import MARK, digest, new_token

# Of an account; beyond, the one used longest ago is forgotten.
MOST = 20
KEEP = timedelta(days=400)


async def keep(conn: AsyncConnection, *, account_id: UUID, given: str | None, now: datetime) -> str:
    """The mark of the device that just signed in: the one it gave when it is this account's, else a new one."""
    if given is not None:
        used = update(Mark).where(Mark.mark_hash == digest(given), Mark.account_id == account_id).values(used_at=now)
        if (await conn.execute(used)).rowcount:
            return given
    mark = new_token(MARK)
    await conn.execute(insert(Mark), [{"mark_hash": digest(mark), "account_id": account_id, "used_at": now}])
    newest_first = select(Mark.mark_hash).where(Mark.account_id == account_id).order_by(Mark.used_at.desc())
    surplus = newest_first.offset(MOST).scalar_subquery()
    await conn.execute(delete(Mark).where(Mark.mark_hash.in_(surplus)))
    return mark


async def forget(conn: AsyncConnection, account_id: UUID) -> None:
    """No device of an account is known any more."""
    await conn.execute(delete(Mark).where(Mark.account_id == account_id))
