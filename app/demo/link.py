import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import httpx

Sleep = Callable[[float], Awaitable[None]]

TRIES = 14
LONGEST_WAIT = 5.0
LOOK_SECONDS = 0.05
PASSING = (429, 503)


class SignInRefused(Exception):
    """The server would not sign this account in; `passing` when it may a moment later (429, 5xx)."""

    def __init__(self, username: str, status: int, detail: str) -> None:
        super().__init__(f"sign-in as {username} refused: {status} {detail}".rstrip())
        self.passing = status == 429 or status >= 500


class PasswordSignIn(httpx.Auth):
    """Signs in by the OAuth2 password form when first needed, and once more when the token is no longer good."""

    requires_response_body = True

    def __init__(self, base_url: str, username: str, password: str) -> None:
        self._url = f"{base_url.rstrip('/')}/v1/auth/token"
        self._username, self._password = username, password
        self._token: str | None = None

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """One request, with a sign-in before it when none stands; raises `SignInRefused`."""
        fresh = self._token is None
        if fresh:
            self._take(self._token_from((yield self._form())))
        request.headers["Authorization"] = f"Bearer {self._token}"
        response = yield request
        if response.status_code == 401 and not fresh:
            self._take(self._token_from((yield self._form())))
            request.headers["Authorization"] = f"Bearer {self._token}"
            yield request

    def _form(self) -> httpx.Request:
        form = {"grant_type": "password", "username": self._username, "password": self._password}
        return httpx.Request("POST", self._url, data=form)

    def _token_from(self, response: httpx.Response) -> str:
        if response.status_code != 200:
            raise SignInRefused(self._username, response.status_code, detail(response))
        try:
            return str(response.json()["access_token"])
        except (ValueError, KeyError, TypeError):
            raise SignInRefused(self._username, response.status_code, "the answer holds no token") from None

    def _take(self, token: str) -> None:
        self._token = token


def connect(
    base_url: str, *, auth: httpx.Auth | None = None, transport: httpx.AsyncBaseTransport | None = None
) -> httpx.AsyncClient:
    """A client of one server. It reads no proxy settings: the exercise is meant for a server at hand."""
    # longer than the longest poll (30 s), or a quiet night would look like a broken line
    return httpx.AsyncClient(base_url=base_url, auth=auth, transport=transport, timeout=40, trust_env=False)


async def send(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    repeatable: bool = True,
    tries: int = TRIES,
    sleep: Sleep = asyncio.sleep,
    on_retry: Callable[[], None] = lambda: None,
    **request: Any,
) -> httpx.Response:
    """Send until answered: transport errors, 429 and 503 are tried again, with jitter, the very same request.

    With `repeatable=False` only a refused connection is tried again, since then nothing was sent. After the last try
    the answer is returned or the error raised as it is.
    """
    broken = httpx.TransportError if repeatable else httpx.ConnectError
    for attempt in range(1, tries + 1):
        wait = min(LONGEST_WAIT, 0.2 * 2**attempt)
        try:
            response = await client.request(method, path, **request)
        except broken:
            if attempt == tries:
                raise
        except SignInRefused as refused:
            if attempt == tries or not refused.passing:
                raise
        else:
            if response.status_code not in PASSING or attempt == tries:
                return response
            wait = max(wait, _retry_after(response))
        on_retry()
        await sleep(wait * random.uniform(1.0, 1.5))  # noqa: S311 - to spread the retries
    raise AssertionError("unreachable")


async def until(is_so: Callable[[], bool], *, seconds: float, sleep: Sleep = asyncio.sleep) -> bool:
    """Wait until it is so, but no longer than `seconds`; whether it is."""
    for _ in range(math.ceil(seconds / LOOK_SECONDS)):
        if is_so():
            return True
        await sleep(LOOK_SECONDS)
    return is_so()


def detail(response: httpx.Response) -> str:
    """What a problem+json answer says, or nothing."""
    try:
        problem = response.json()
    except ValueError:
        return ""
    return str(problem.get("detail") or problem.get("title") or "") if isinstance(problem, dict) else ""


def _retry_after(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else 0.0
