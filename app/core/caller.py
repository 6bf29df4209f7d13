from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Request

from app.core import problems
from app.core.errors import Problem
from app.core.methods import IS_HEAD

SCOPES = frozenset(
    {
        "reports:write",
        "reports:read",
        "alerts:read",
        "alerts:act",
        "warnings:read",
        "warnings:write",
        "nodes:admin",
        "accounts:admin",
        "interop:read",
    }
)


@dataclass(frozen=True, slots=True)
class Lapse:
    """A sign-in that is good no longer: since when, and why. What was written before may still be handed in."""

    at: datetime
    why: Literal["sign_in_revoked", "node_closed"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an office's account or a machine's key, at one node, with its scopes."""

    city_id: str
    node: str
    tier: str
    scopes: frozenset[str]
    label: str
    role: str | None = None
    account_id: UUID | None = None
    sign_in_id: UUID | None = None
    key_id: UUID | None = None
    lapse: Lapse | None = None
    # When its token or key ends by itself.
    expires_at: datetime | None = None
    # Not who asks with HEAD: an answer without a body opens nothing and tells nobody.
    sees: bool = True


def may_know_person(caller: Caller, *, office: str, above: str | None) -> bool:
    """Return whether the caller is told which person acted for an office: people there and at the office above it.

    Everybody else, and every machine, is told the office alone. Pure.
    """
    return caller.account_id is not None and caller.node in (office, above)


Authenticate = Callable[[Request], Awaitable[Caller]]

# The dependencies that refuse a request for its sign-in. They need its headers alone: they run before a body is read.
SignIn = Callable[[Request], Awaitable[Caller]]
SIGN_INS: dict[Callable[..., object], SignIn] = {}


async def authenticated(request: Request) -> Caller:
    """Who asks, also where the sign-in has lapsed; a Problem (401) when nobody does. Their connection hears of it."""
    authenticate: Authenticate = request.app.state.authenticate
    caller = await authenticate(request)
    signed_in = request.scope.get("state", {}).get("signed_in")
    if signed_in is not None:
        signed_in()
    return replace(caller, sees=False) if IS_HEAD in request.scope else caller


async def current_caller(request: Request) -> Caller:
    """The caller of this request; a Problem (401) when there is none, or its sign-in has lapsed.

    The application sets how it is found.
    """
    caller = await authenticated(request)
    if caller.lapse is not None:
        raise refused(problems.SIGN_IN_INVALID)
    return caller


SIGN_INS[current_caller] = current_caller


def refused(kind: problems.Kind) -> Problem:
    """A Problem (401), with the header that RFC 6750 asks for."""
    return Problem(kind, headers={"WWW-Authenticate": "Bearer"})


SignedIn = Annotated[Caller, Depends(current_caller)]


def may(scope: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, who has `scope`; a Problem (401 or 403) otherwise."""
    assert scope in SCOPES, scope

    async def permitted(request: Request) -> Caller:
        caller = await current_caller(request)
        if scope not in caller.scopes:
            raise Problem(problems.SCOPE_MISSING, scope=scope)
        return caller

    SIGN_INS[permitted] = permitted
    return permitted


async def may_hand_in(request: Request) -> Caller:
    """The caller, who may send reports, or might when they were written: see `Caller.lapse`."""
    caller = await authenticated(request)
    if "reports:write" not in caller.scopes:
        raise Problem(problems.SCOPE_MISSING, scope="reports:write")
    return caller


SIGN_INS[may_hand_in] = may_hand_in
