import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from app.demo.link import SignInRefused, Sleep, detail, send

AT_ONCE = 16
REPORTS = ("reports:write", "reports:read")
DESK = ("alerts:read", "alerts:act")


class OfficeRefused(Exception):
    """An office of the script could not be given a key: unknown to the server, or not the admin's to give."""


@dataclass
class Keys:
    """The offices' api keys by code; `left` is how many could not be revoked."""

    of: dict[str, str] = field(default_factory=dict)
    left: int = 0

    def headers(self, office: str) -> dict[str, str]:
        """The sign-in of an office."""
        return {"Authorization": f"Bearer {self.of[office]}"}


@asynccontextmanager
async def office_keys(
    admin: httpx.AsyncClient, scopes: Mapping[str, Sequence[str]], keys: Keys, *, sleep: Sleep = asyncio.sleep
) -> AsyncIterator[Keys]:
    """One api key an office, with its scopes; all of them are revoked at the end, whatever happens.

    Raises `OfficeRefused`, `SignInRefused` or `httpx.TransportError` when one cannot be made.
    """
    made: list[str] = []
    slots = asyncio.Semaphore(AT_ONCE)

    async def make(node: str) -> None:
        body = {"node": node, "scopes": list(scopes[node]), "label": "demo"}
        async with slots:
            response = await send(admin, "POST", "/v1/keys", json=body, repeatable=False, sleep=sleep)
        if response.status_code != 201:
            raise OfficeRefused(f"no api key for office {node}: {response.status_code} {detail(response)}".rstrip())
        answer = response.json()
        made.append(answer["id"])
        keys.of[node] = answer["key"]

    async def revoke(key_id: str) -> None:
        async with slots:
            try:
                response = await send(admin, "DELETE", f"/v1/keys/{key_id}", tries=4, sleep=sleep)
            except (httpx.TransportError, SignInRefused):
                keys.left += 1
            else:
                keys.left += response.status_code not in (204, 404)

    try:
        # the first alone: it signs in for all, and finds out whether the server answers
        first, *others = scopes
        await make(first)
        results = await asyncio.gather(*(make(node) for node in others), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        yield keys
    finally:
        await asyncio.gather(*(revoke(key_id) for key_id in made))
