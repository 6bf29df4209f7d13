"""Who is given what: accounts and keys, inside the giver's subtree and with no scope that the giver lacks."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.callers import Revoked, is_closed
from app.accounts.logged import tell
from app.accounts.models import Account, ApiKey
from app.accounts.tokens import KEY, digest, new_token
from app.core import paging, problems
from app.core.caller import SCOPES, Caller
from app.core.database import announce
from app.core.errors import Problem
from app.core.ids import new_id
from app.nodes.models import Node
from app.nodes.scope import visible


async def create_account(
    conn: AsyncConnection,
    *,
    username: str,
    password_hash: str,
    password_fits: int | None,
    role: str,
    node: str,
    now: datetime,
    caller: Caller | None = None,
) -> dict[str, Any]:
    """A new account, made by a caller or on the server.

    Problems when the node is unknown or closed (422) or the username is taken (409).
    """
    place = await open_node(conn, node, now)
    row = {
        "id": new_id(),
        "username": username,
        "password_hash": password_hash,
        "password_fits": password_fits,
        "role": role,
        "node_code": node,
        "city_id": place.city_id,
        "created_at": now,
        "disabled_at": None,
    }
    try:
        await conn.execute(insert(Account), [row])
    except IntegrityError as error:
        raise Problem(problems.USERNAME_TAKEN, pointer="/username") from error
    tell(conn, "created", username=username, node=node, role=role, caller=caller)
    return row


async def create_key(
    conn: AsyncConnection,
    *,
    node: str,
    scopes: list[str],
    label: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[dict[str, Any], str]:
    """A new API key: its row, and the key itself, which is shown this once; a Problem (422) when it has expired."""
    if expires_at is not None and expires_at <= now:
        raise Problem(problems.EXPIRY_PAST, pointer="/expires_at")
    place = await open_node(conn, node, now)
    key = new_token(KEY)
    row = {
        "id": new_id(),
        "key_hash": digest(key),
        "prefix": key[:11],
        "label": label,
        "node_code": node,
        "city_id": place.city_id,
        "scopes": sorted(set(scopes)),
        "created_at": now,
        "revoked_at": None,
        "expires_at": expires_at,
        "last_used_at": None,
    }
    await conn.execute(insert(ApiKey), [row])
    return row, key


async def may_grant(conn: AsyncConnection, *, caller: Caller, node: str, scopes: frozenset[str]) -> None:
    """Problems when the node is outside the caller's subtree (422) or a scope is one the caller lacks (403)."""
    await _visible_node(conn, caller, node)
    _may_do_all(caller, scopes)


async def revoke_key(conn: AsyncConnection, *, caller: Caller, key_id: UUID, now: datetime) -> None:
    """Revoke an API key. Again, it changes nothing. A Problem (403) when it may do more than the caller."""
    row = await one(conn, caller, ApiKey, key_id)
    _may_do_all(caller, frozenset(row["scopes"]))
    if row["revoked_at"] is None:
        await conn.execute(update(ApiKey).where(ApiKey.id == key_id).values(revoked_at=now))
        announce(conn, Revoked(key_id, row["city_id"], row["node_code"]))


async def list_accounts(
    conn: AsyncConnection, *, caller: Caller, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """The accounts of the caller's subtree, the newest first, and the next page's cursor."""
    return await _page(conn, caller, Account, limit, cursor)


async def list_keys(
    conn: AsyncConnection, *, caller: Caller, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """The keys of the caller's subtree, the newest first, and the next page's cursor."""
    return await _page(conn, caller, ApiKey, limit, cursor)


def known_scopes(scopes: list[str]) -> list[str]:
    """The scopes as given; ValueError for none, or one that does not exist."""
    unknown = sorted(set(scopes) - SCOPES)
    if unknown or not scopes:
        raise ValueError(f"Unknown scope: {', '.join(unknown) or 'none given'}. Known: {', '.join(sorted(SCOPES))}.")
    return scopes


async def open_node(conn: AsyncConnection, code: str, now: datetime) -> Any:
    """The node's city; a Problem (422) when it is unknown or closed."""
    row = (await conn.execute(select(Node.city_id, Node.closed_on).where(Node.code == code))).one_or_none()
    if row is None:
        raise Problem(problems.NODE_UNKNOWN, pointer="/node", code=code)
    if is_closed(row.closed_on, now):
        raise Problem(problems.NODE_CLOSED, pointer="/node", code=code, date=row.closed_on.isoformat())
    return row


def _may_do_all(caller: Caller, scopes: frozenset[str]) -> None:
    lacking = scopes - caller.scopes
    if lacking:
        raise Problem(problems.SCOPES_TOO_WIDE, scopes=", ".join(sorted(lacking)))


async def _visible_node(conn: AsyncConnection, caller: Caller, code: str) -> None:
    query = select(Node.code).where(Node.code == code, visible(caller, Node, Node.code))
    if (await conn.execute(query)).one_or_none() is None:
        raise Problem(problems.NODE_UNKNOWN, pointer="/node", code=code)


async def one(conn: AsyncConnection, caller: Caller, table: Any, item_id: UUID) -> dict[str, Any]:
    """An account or a key of the caller's subtree, locked; a Problem (404) when there is none."""
    query = select(*table.__table__.columns).where(visible(caller, table), table.id == item_id)
    # key_share: a sign-in at the same moment refers to the account and must not wait for it.
    row = (await conn.execute(query.with_for_update(key_share=True))).one_or_none()
    if row is None:
        raise Problem(problems.NOT_FOUND)
    return dict(row._mapping)


async def _page(
    conn: AsyncConnection, caller: Caller, table: Any, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    name = table.__tablename__
    query = select(*table.__table__.columns).where(visible(caller, table))
    if cursor is not None:
        (last,) = paging.decode(name, cursor, str)
        try:
            query = query.where(table.id < UUID(hex=last))
        except ValueError as error:
            raise Problem(problems.CURSOR_INVALID) from error
    rows = (await conn.execute(query.order_by(table.id.desc()).limit(limit + 1))).all()
    after = paging.encode(name, rows[limit - 1].id.hex) if len(rows) > limit else None
    return [dict(row._mapping) for row in rows[:limit]], after
