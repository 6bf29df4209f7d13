"""Accounts and keys as an admin makes them, with a password of an exercise."""

import asyncio
import threading
from datetime import date

import httpx
from fastapi import Request
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import update

from app.core.database import Database
from app.nodes.models import Node
from tests.builders import CITY
from tests.conftest import token_of

USERNAME = "shangkou-desk"
PASSWORD = "a password of the exercise 演练"
ADMIN = {"Authorization": f"Bearer {token_of(CITY, 'admin')}"}


def cheap() -> Argon2Hasher:
    """Argon2 that costs nothing: what is hashed here protects nobody."""
    return Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)


def bearer(token: str) -> dict[str, str]:
    """The header that signs in."""
    return {"Authorization": f"Bearer {token}"}


def asking(token: str) -> Request:
    """A request with this token."""
    return Request({"type": "http", "headers": [(b"authorization", f"Bearer {token}".encode())]})


async def create(
    client: httpx.AsyncClient,
    *,
    node: str,
    role: str = "desk",
    username: str = USERNAME,
    headers: dict[str, str] = ADMIN,
) -> httpx.Response:
    """An account made over HTTP."""
    body = {"username": username, "node": node, "role": role, "password": PASSWORD}
    return await client.post("/v1/accounts", json=body, headers=headers)


async def create_key(
    client: httpx.AsyncClient, *, node: str, scopes: list[str], headers: dict[str, str] = ADMIN
) -> httpx.Response:
    """A key made over HTTP."""
    return await client.post("/v1/keys", json={"node": node, "scopes": scopes, "label": "gateway"}, headers=headers)


async def sign_in(
    client: httpx.AsyncClient, password: str = PASSWORD, username: str = USERNAME, device: str | None = None
) -> httpx.Response:
    """One try to sign in, from a device that may be known."""
    form = {"grant_type": "password", "username": username, "password": password}
    if device is not None:
        form["device"] = device
    return await client.post("/v1/auth/token", data=form)


async def pair(client: httpx.AsyncClient) -> tuple[str, str]:
    """The access and the refresh token of a new sign-in."""
    answer = await sign_in(client)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"], answer.json()["refresh_token"]


async def refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """Both tokens anew."""
    return await client.post("/v1/auth/refresh", json={"refresh_token": token})


async def revoke(client: httpx.AsyncClient, token: str) -> httpx.Response:
    """The end of a sign-in."""
    return await client.post("/v1/auth/revoke", json={"token": token})


async def me(client: httpx.AsyncClient, token: str) -> int:
    """The status that this token gets."""
    return (await client.get("/v1/me", headers=bearer(token))).status_code


async def close_node(database: Database, code: str, on: date) -> None:
    """Close a node on a day."""
    async with database.writing() as conn:
        await conn.execute(update(Node).where(Node.code == code).values(closed_on=on))


class Held(Argon2Hasher):
    """Hashes only once the test lets it: what would hold the event loop for ever if it ran there."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.loop = asyncio.get_running_loop()
        self.began = asyncio.Event()
        self.go = threading.Event()
        self.calls: list[str] = []
        self.tried: list[str] = []

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.calls.append("hash")
        self.loop.call_soon_threadsafe(self.began.set)
        assert self.go.wait(20), "the event loop stood still"
        return super().hash(password, salt=salt)

    def verify(self, password: str | bytes, hash: str | bytes) -> bool:
        self.calls.append("verify")
        self.tried.append(str(password))
        self.loop.call_soon_threadsafe(self.began.set)
        assert self.go.wait(20), "the event loop stood still"
        return super().verify(password, hash)
