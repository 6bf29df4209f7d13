"""A small city of its own for each run: three towns, fifteen villages, a sign-in for every device and desk."""

import random
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.models import Account, Token
from app.accounts.tokens import digest
from app.core.ids import new_id
from app.nodes.models import City, Node, NodeSpan

OPENED = date(2000, 1, 1)
EXPIRES = datetime.fromisoformat("2100-01-01T00:00:00+00:00")
TOWNS = 3
VILLAGES = 5
PHONES_A_VILLAGE = 3


@dataclass(frozen=True, slots=True)
class SignIn:
    """One account, and the token that is good for it."""

    account: UUID
    node: str
    token: str


@dataclass(frozen=True, slots=True)
class Town:
    """A town of the start, and its villages."""

    code: str
    villages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A new city as it stands at the start."""

    code: str
    towns: tuple[Town, ...]
    phones: tuple[SignIn, ...]
    """The sign-ins of the fifty devices."""
    desks: dict[str, SignIn]
    """By office: who sits at its desk."""
    admin: SignIn


async def found(conn: AsyncConnection, *, rng: random.Random, now: datetime) -> Place:
    """Found a city that nobody else uses."""
    # Drawn apart from `rng`: runs of one seed differ in nothing but the codes.
    code = new_id().hex[-20:]
    towns = tuple(
        Town(f"{code}.{town}", tuple(f"{code}.{town}{village}" for village in range(VILLAGES))) for town in range(TOWNS)
    )
    tiers: list[tuple[str, str, str | None]] = [(code, "city", None)]
    for town in towns:
        tiers.append((town.code, "town", code))
        tiers += [(village, "village", town.code) for village in town.villages]
    common = [
        {"code": c, "city_id": code, "tier": tier, "name": c[20:] or "city", "parent_code": parent}
        for c, tier, parent in tiers
    ]
    await conn.execute(insert(City), [{"city_id": code, "created_at": now}])
    await conn.execute(insert(Node), [{**one, "opened_on": OPENED, "version": 1} for one in common])
    await conn.execute(insert(NodeSpan), [{**one, "since": OPENED, "until": None} for one in common])

    phones = [village for town in towns for village in town.villages for _ in range(PHONES_A_VILLAGE)]
    phones += [town.code for town in towns] + [code, code]
    made = [await enlist(conn, node=node, city_id=code, role="desk", now=now) for node in phones]
    desks = {one: await enlist(conn, node=one, city_id=code, role="desk", now=now) for one, _, _ in tiers}
    admin = await enlist(conn, node=code, city_id=code, role="admin", now=now)
    return Place(code, towns, tuple(made), desks, admin)


async def enlist(conn: AsyncConnection, *, node: str, city_id: str, role: str, now: datetime) -> SignIn:
    """A new account with a token, as if it had signed in."""
    one = SignIn(new_id(), node, f"bt_{new_id().hex}")
    account: dict[str, Any] = {
        "id": one.account,
        "username": one.account.hex,
        "password_hash": "!",
        "role": role,
        "node_code": node,
        "city_id": city_id,
        "created_at": now,
    }
    token = {
        "token_hash": digest(one.token),
        "kind": "access",
        "account_id": one.account,
        "sign_in_id": new_id(),
        "expires_at": EXPIRES,
    }
    await conn.execute(insert(Account), account)
    await conn.execute(insert(Token), token)
    return one
