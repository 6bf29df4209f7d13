"""What becomes of an account after it was made. Open sign-ins have its new role and office with their next request."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts import codes, granting, marks
from app.accounts.callers import Revoked
from app.accounts.logged import tell
from app.accounts.models import Account, Token
from app.accounts.password_rules import LEAST
from app.accounts.passwords import NO_PASSWORD
from app.accounts.roles import ROLES
from app.core import problems
from app.core.caller import Caller
from app.core.database import announce
from app.core.errors import Problem

# Of passwords from before their length was kept.
FITS_UNKNOWN = 10


async def changeable(conn: AsyncConnection, *, caller: Caller | None, account_id: UUID) -> dict[str, Any]:
    """An account that the caller may change, locked; no caller is the command line, on the server.

    Problems when it is the caller's own (409), is not seen (404), or may do more than the caller (403).
    """
    if caller is None:
        query = select(*Account.__table__.columns).where(Account.id == account_id)
        return dict((await conn.execute(query.with_for_update(key_share=True))).one()._mapping)
    if account_id == caller.account_id:
        raise Problem(problems.ACCOUNT_SELF)
    row = await granting.one(conn, caller, Account, account_id)
    await granting.may_grant(conn, caller=caller, node=row["node_code"], scopes=ROLES[row["role"]])
    return row


async def disable(conn: AsyncConnection, *, caller: Caller | None, account_id: UUID, now: datetime) -> dict[str, Any]:
    """Disable an account: its sign-ins lapse, its code is void. Again, it changes nothing."""
    row = await changeable(conn, caller=caller, account_id=account_id)
    if row["disabled_at"] is not None:
        return row
    await codes.forget(conn, account_id)
    return await _change(conn, row, "disabled", caller=caller, disabled_at=now)


async def enable(conn: AsyncConnection, *, caller: Caller | None, account_id: UUID) -> dict[str, Any]:
    """Enable an account again. What it had of sign-ins stays ended. Again, it changes nothing."""
    row = await changeable(conn, caller=caller, account_id=account_id)
    if row["disabled_at"] is None:
        return row
    await end_sign_ins(conn, account_id)
    return await _change(conn, row, "enabled", caller=caller, disabled_at=None)


async def alter(
    conn: AsyncConnection,
    *,
    caller: Caller | None,
    account_id: UUID,
    role: str | None = None,
    node: str | None = None,
    now: datetime,
) -> dict[str, Any]:
    """Give an account another role, another office, or both. The same again changes nothing.

    A password that is too short for the new role is forgotten: the next sign-in needs a code.
    Problems as in `changeable`, and when the caller may not give the role (403) or the node is not one to give (422).
    """
    row = await changeable(conn, caller=caller, account_id=account_id)
    new_role, new_node = role or row["role"], node or row["node_code"]
    if caller is not None:
        await granting.may_grant(conn, caller=caller, node=new_node, scopes=ROLES[new_role])
    if new_node != row["node_code"]:
        place = await granting.open_node(conn, new_node, now)
        if place.city_id != row["city_id"]:
            raise Problem(problems.NODE_UNKNOWN, pointer="/node", code=new_node)
        row = await _change(conn, row, "moved", caller=caller, node_code=new_node)
    if new_role != row["role"]:
        changes: dict[str, Any] = {"role": new_role}
        if (row["password_fits"] or FITS_UNKNOWN) < LEAST[new_role]:
            changes |= {"password_hash": NO_PASSWORD, "password_fits": None}
        row = await _change(conn, row, "given another role", caller=caller, **changes)
    return row


async def give_code(
    conn: AsyncConnection, *, caller: Caller | None, account_id: UUID, digest: str, reset: bool, now: datetime
) -> tuple[dict[str, Any], datetime]:
    """Keep a new code of an account, until the time answered.

    With `reset`, its password, its sign-ins and its known devices are forgotten. A Problem (409) when it is disabled.
    """
    row = await changeable(conn, caller=caller, account_id=account_id)
    if row["disabled_at"] is not None:
        raise Problem(problems.ACCOUNT_DISABLED)
    if reset:
        await end_sign_ins(conn, account_id)
        await marks.forget(conn, account_id)
        row = await _change(conn, row, "reset", caller=caller, password_hash=NO_PASSWORD, password_fits=None)
    else:
        told(conn, row, "given a code", caller=caller)
    return row, await codes.keep(conn, account_id=account_id, digest=digest, now=now)


async def set_password(
    conn: AsyncConnection,
    *,
    account_id: UUID,
    password_hash: str,
    password_fits: int,
    spare: UUID | None,
    caller: Caller | None = None,
) -> None:
    """A new password, chosen by its owner: all sign-ins but `spare` end."""
    query = select(*Account.__table__.columns).where(Account.id == account_id)
    row = dict((await conn.execute(query)).one()._mapping)
    await end_sign_ins(conn, account_id, spare=spare)
    done = {"password_hash": password_hash, "password_fits": password_fits}
    await conn.execute(update(Account).where(Account.id == account_id).values(done))
    told(conn, row, "given a password by its owner", caller=caller)


async def end_sign_ins(conn: AsyncConnection, account_id: UUID, *, spare: UUID | None = None) -> None:
    """End all sign-ins of an account, but `spare`."""
    query = (
        select(Token.sign_in_id, Account.city_id, Account.node_code)
        .join(Account, Account.id == Token.account_id)
        .where(Token.account_id == account_id)
        .distinct()
    )
    ended = [Revoked(*found) for found in await conn.execute(query) if found.sign_in_id != spare]
    if ended:
        await conn.execute(delete(Token).where(Token.sign_in_id.in_([one.id for one in ended])))
    for one in ended:
        announce(conn, one)


def told(conn: AsyncConnection, row: dict[str, Any], did: str, *, caller: Caller | None) -> None:
    """Log what was done to this account, once it is committed."""
    tell(conn, did, username=row["username"], node=row["node_code"], role=row["role"], caller=caller)


async def _change(
    conn: AsyncConnection, row: dict[str, Any], did: str, *, caller: Caller | None, **changes: Any
) -> dict[str, Any]:
    await conn.execute(update(Account).where(Account.id == row["id"]).values(changes))
    row = {**row, **changes}
    announce(conn, Revoked(row["id"], row["city_id"], row["node_code"]))
    told(conn, row, did, caller=caller)
    return row
