from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from app.accounts import changes, codes, granting, logged, password_rules
from app.accounts.models import Account
from app.accounts.passwords import NO_PASSWORD, Passwords
from app.accounts.roles import ROLES
from app.accounts.schemas import Label, Username
from app.core import problems
from app.core.database import Database
from app.core.errors import Problem
from app.nodes.models import Node

_USERNAME: TypeAdapter[str] = TypeAdapter(Username)
_LABEL: TypeAdapter[str] = TypeAdapter(Label)


async def create_account(
    database: Database, *, username: str, node: str, role: str, password: str | None, now: datetime
) -> str | None:
    """`beacon accounts create`; without a password, the one-time code. ValueError or a Problem with one clear line."""
    try:
        _USERNAME.validate_python(username)
    except ValidationError:
        raise ValueError("A username has 3 to 64 of a-z 0-9 . _ - and begins with a letter or digit.") from None
    _known_role(role)
    hashed, fits, code, digest = NO_PASSWORD, None, None, ""
    async with _hashing() as passwords:
        if password is None:
            code, plain = codes.new_code()
            digest = await passwords.code_digest(plain)
        else:
            password_rules.check(password, username=username, role=role)
            hashed, fits = await passwords.hash(password), password_rules.fits(password)
    _logging(database)
    async with database.writing() as conn:
        row = await granting.create_account(
            conn, username=username, password_hash=hashed, password_fits=fits, role=role, node=node, now=now
        )
        if code is not None:
            await codes.keep(conn, account_id=row["id"], digest=digest, now=now)
    return code


async def list_accounts(database: Database, *, node: str | None) -> list[str]:
    """`beacon accounts list`: a line each, in order of the username; of one node, or all."""
    query = select(Account).join(Node, Node.code == Account.node_code).order_by(Account.username)
    if node is not None:
        query = query.where(Account.node_code == node)
    async with database.reading() as conn:
        rows = (await conn.execute(query)).all()
    return [
        "\t".join(
            (
                row.username,
                row.role,
                row.node_code,
                "disabled" if row.disabled_at else "no password" if row.password_hash == NO_PASSWORD else "in use",
            )
        )
        for row in rows
    ]


async def give_code(database: Database, *, username: str, reset: bool, now: datetime) -> str:
    """`beacon accounts code` and `reset`: a new one-time code; a Problem when there is no such account."""
    account_id = await _account(database, username)
    code, plain = codes.new_code()
    async with _hashing() as passwords:
        digest = await passwords.code_digest(plain)
    _logging(database)
    async with database.writing() as conn:
        await changes.give_code(conn, caller=None, account_id=account_id, digest=digest, reset=reset, now=now)
    return code


async def switch(database: Database, *, username: str, to: Literal["enabled", "disabled"], now: datetime) -> None:
    """`beacon accounts enable` and `disable`; a Problem when there is no such account."""
    account_id = await _account(database, username)
    _logging(database)
    async with database.writing() as conn:
        if to == "enabled":
            await changes.enable(conn, caller=None, account_id=account_id)
        else:
            await changes.disable(conn, caller=None, account_id=account_id, now=now)


async def alter(
    database: Database, *, username: str, now: datetime, role: str | None = None, node: str | None = None
) -> dict[str, Any]:
    """`beacon accounts role` and `move`; ValueError or a Problem with one clear line."""
    if role is not None:
        _known_role(role)
    account_id = await _account(database, username)
    _logging(database)
    async with database.writing() as conn:
        return await changes.alter(conn, caller=None, account_id=account_id, role=role, node=node, now=now)


async def create_key(
    database: Database,
    *,
    node: str,
    scopes: list[str],
    label: str,
    now: datetime,
    expires_at: datetime | None = None,
) -> str:
    """`beacon keys create`: the key; ValueError or a Problem with one clear line."""
    try:
        _LABEL.validate_python(label)
    except ValidationError:
        raise ValueError("A label has 1 to 80 characters.") from None
    granting.known_scopes(scopes)
    async with database.writing() as conn:
        _, key = await granting.create_key(conn, node=node, scopes=scopes, label=label, now=now, expires_at=expires_at)
    return key


async def _account(database: Database, username: str) -> UUID:
    async with database.reading() as conn:
        query = select(Account.id).where(Account.username == username)
        found: UUID | None = (await conn.execute(query)).scalar_one_or_none()
    if found is None:
        raise Problem(problems.ACCOUNT_UNKNOWN, username=username)
    return found


def _known_role(role: str) -> None:
    if role not in ROLES:
        raise ValueError(f"Unknown role: {role}. Known: {', '.join(ROLES)}.")


def _logging(database: Database) -> None:
    if logged.heard not in database.listeners:
        database.listeners.append(logged.heard)


@asynccontextmanager
async def _hashing() -> AsyncIterator[Passwords]:
    passwords = Passwords()
    try:
        yield passwords
    finally:
        passwords.close()
