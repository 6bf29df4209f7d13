import sqlite3
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

import httpx

from app.core.clock import Clock
from app.field import answers
from app.field.store import belong, writing

_BUSY = timedelta(seconds=60)
# When so new a token is refused, another one would fare no better.
_NEW = timedelta(seconds=30)
# Of a one-time code, while a person waits.
_TRIES = 3


class Session(Protocol):
    """Who the device is to the server."""

    def headers(self) -> dict[str, str]:
        """What every request carries."""
        ...

    async def renew(self, client: httpx.AsyncClient, *, refused: str) -> bool:
        """Make the sign-in good again, after `refused` (an access token) was; whether there is another now."""
        ...


class Fixed:
    """A key, or a token that somebody else looks after."""

    def __init__(self, token: str) -> None:
        self._token = token

    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self._token}"}

    async def renew(self, client: httpx.AsyncClient, *, refused: str) -> bool:
        """It cannot be renewed."""
        return False


class SignIn:
    """A person's sign-in, kept on the device so that it need not be typed again.

    After it has lapsed (the account disabled, the office closed) it can still be renewed for some days: what was
    written before is handed in with that, and nothing else is possible.
    """

    def __init__(self, store: sqlite3.Connection, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def sign_in(self, client: httpx.AsyncClient, *, username: str, password: str) -> str | None:
        """Sign in; None when it is done, else why not, in the server's words. The password is not kept."""
        form = {"grant_type": "password", "username": username, "password": password}
        response = await client.post("/v1/auth/token", data=form)
        body = answers.parsed(response.content) or {}
        if response.status_code != 200 or "access_token" not in body:
            return str(body.get("detail") or f"{response.status_code}")
        return await self.sign_in_with(client, body["access_token"], body.get("refresh_token"))

    async def enrol(self, client: httpx.AsyncClient, *, code: str) -> str | None:
        """The same with a one-time code of the office above. Raises httpx.RequestError when no answer came."""
        # The same try again is answered again: an answer that gets lost does not use up the code.
        body = {"code": code, "id": str(uuid4())}
        for tries_left in reversed(range(_TRIES)):
            try:
                response = await client.post("/v1/auth/enrol", json=body)
                break
            except httpx.RequestError:
                if not tries_left:
                    raise
        answer = answers.parsed(response.content) or {}
        if response.status_code != 200 or "access_token" not in answer:
            return str(answer.get("detail") or f"{response.status_code}")
        return await self.sign_in_with(client, answer["access_token"], answer.get("refresh_token"))

    async def sign_in_with(self, client: httpx.AsyncClient, access: str, refresh: str | None = None) -> str | None:
        """The same with tokens, or an API key. Until the server knows it, the sign-in before is kept."""
        response = await client.get("/v1/me", headers={"Authorization": f"Bearer {access}"})
        body = answers.parsed(response.content) or {}
        office = body.get("node")
        if response.status_code != 200 or not isinstance(office, str):
            return str(body.get("detail") or f"{response.status_code}")
        with writing(self._store):
            belong(self._store, _url(client), office)
            self._keep(access, refresh)
        return None

    def keep_unseen(self, client: httpx.AsyncClient, key: str) -> None:
        """Keep an API key where no link is: whose it is is not known."""
        with writing(self._store):
            belong(self._store, _url(client), None)
            self._keep(key, None)

    def keep(self, access: str, refresh: str | None = None) -> None:
        """Keep these tokens, or an API key, from now on."""
        with writing(self._store):
            self._keep(access, refresh)

    def _keep(self, access: str, refresh: str | None) -> None:
        self._store.execute(
            "INSERT INTO sign_in (one, access, refresh, kept_at) VALUES (1, ?, ?, ?) ON CONFLICT (one) DO UPDATE"
            " SET access = excluded.access, refresh = excluded.refresh, kept_at = excluded.kept_at,"
            " renewing_until = 0",
            (access, refresh, self._clock.now().timestamp()),
        )

    def headers(self) -> dict[str, str]:
        """What every request carries; nothing before the first sign-in."""
        row = self._store.execute("SELECT access FROM sign_in").fetchone()
        return {"Authorization": f"Bearer {row['access']}"} if row else {}

    async def renew(self, client: httpx.AsyncClient, *, refused: str) -> bool:
        """New tokens for the ones that were refused; whether there are any.

        A refresh token is good once: of several processes one asks, the others come again. Raises
        httpx.RequestError when no answer came; then the same is tried again.
        """
        now = self._clock.now()
        with writing(self._store):
            row = self._store.execute("SELECT * FROM sign_in").fetchone()
            if row is None or row["refresh"] is None:
                return False
            if row["access"] != refused:
                # Another process renewed it meanwhile.
                return True
            # What is later than now was noted by a clock that was ahead.
            if (now - _NEW).timestamp() < row["kept_at"] <= now.timestamp():
                return False
            if now.timestamp() < row["renewing_until"] <= (now + _BUSY).timestamp():
                raise httpx.ConnectError("another process is renewing the sign-in")
            self._store.execute("UPDATE sign_in SET renewing_until = ?", ((now + _BUSY).timestamp(),))
        try:
            response = await client.post("/v1/auth/refresh", json={"refresh_token": row["refresh"]})
            body = answers.parsed(response.content) or {}
            if response.status_code == 200 and "access_token" in body:
                self.keep(body["access_token"], body.get("refresh_token", row["refresh"]))
                return True
            if answers.failure(response.status_code, body or None).word in ("link", "again"):
                raise httpx.RemoteProtocolError(f"the server answered {response.status_code}")
            return False
        finally:
            with writing(self._store):
                self._store.execute("UPDATE sign_in SET renewing_until = 0 WHERE refresh = ?", (row["refresh"],))


def _url(client: httpx.AsyncClient) -> str:
    return str(client.base_url).rstrip("/")
