from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request, Response

from app.accounts import service
from app.accounts.passwords import Passwords
from app.accounts.roles import ROLES
from app.accounts.schemas import (
    NO_NUL,
    AccountNew,
    AccountView,
    KeyNew,
    KeyShown,
    KeyView,
    Me,
    Refresh,
    Revoke,
    TokenPair,
    account_view,
    key_view,
)
from app.accounts.throttle import Throttle
from app.core import problems
from app.core.caller import Caller, SignedIn, may, refused
from app.core.database import Reading, Writing, database_of
from app.core.errors import Problem
from app.core.paging import Cursor, Limit, Page
from app.core.tags import located
from app.core.texts import clean
from app.nodes import lookup

router = APIRouter(prefix="/v1", tags=["sign-in"])

Admin = Annotated[Caller, Depends(may("accounts:admin"))]


@router.post("/auth/token")
async def get_token(
    request: Request,
    username: Annotated[str, Form(max_length=64, pattern=NO_NUL)],
    password: Annotated[str, Form(max_length=1000)],
    grant_type: Annotated[str, Form(max_length=32)] = "password",
    scope: Annotated[str, Form(max_length=500, description="Ignored: a role's scopes are fixed.")] = "",
) -> TokenPair:
    """Sign in with a username and a password (OAuth2 password form)."""
    if grant_type != "password":
        raise Problem(problems.GRANT_UNSUPPORTED)
    state = request.app.state
    throttle: Throttle = state.throttle
    passwords: Passwords = state.passwords
    address = request.client.host if request.client else ""
    async with throttle.attempt(username=username, address=address):
        # No transaction is open while hashing: it takes longer than everything else together.
        async with database_of(request).reading() as conn:
            found = await service.stored_password(conn, username=username, now=state.clock.now())
        if not await passwords.verify(password, found[1] if found else None) or found is None:
            raise refused(problems.CREDENTIALS_WRONG)
    async with database_of(request).writing() as conn:
        pair = await service.sign_in(conn, account_id=found[0], lives=_lives(request), now=state.clock.now())
    return _token_pair(request, pair)


@router.post("/auth/refresh")
async def refresh_token(request: Request, body: Refresh) -> TokenPair:
    """Both tokens anew. A refresh token is good until what came of it is used: then using it ends the sign-in."""
    # The transaction commits also when the token was used before: what is stolen must be ended.
    async with database_of(request).writing() as conn:
        pair = await service.refresh(
            conn,
            token=body.refresh_token,
            lives=_lives(request),
            hand_in=request.app.state.policy.quarantine.within,
            now=request.app.state.clock.now(),
        )
    if pair is None:
        raise refused(problems.SIGN_IN_INVALID)
    return _token_pair(request, pair)


@router.post("/auth/revoke", status_code=204)
async def revoke_token(conn: Writing, body: Revoke) -> None:
    """End the sign-in of a token; 204 also when there is none."""
    await service.revoke(conn, token=body.token)


@router.get("/me")
async def get_me(caller: SignedIn, conn: Reading) -> Me:
    """Who is signed in, where, and what they may do."""
    place = (await lookup.places(conn, {caller.node}))[caller.node]
    return Me(
        node=place.code,
        node_name=place.name,
        tier=place.tier,
        path=list(place.path),
        role=caller.role,
        scopes=sorted(caller.scopes),
        label=caller.label,
    )


@router.post("/accounts", status_code=201)
async def create_account(request: Request, response: Response, caller: Admin, body: AccountNew) -> AccountView:
    """A new account in the caller's subtree, with no scope that the caller lacks."""
    database, passwords = database_of(request), request.app.state.passwords
    async with database.reading() as conn:
        await service.may_grant(conn, caller=caller, node=body.node, scopes=ROLES[body.role])
    hashed = await passwords.hash(body.password)
    async with database.writing() as conn:
        row = await service.create_account(
            conn,
            username=body.username,
            password_hash=hashed,
            role=body.role,
            node=body.node,
            now=request.app.state.clock.now(),
        )
    located(response, f"{router.prefix}/accounts/{row['id']}")
    return account_view(row)


@router.get("/accounts")
async def list_accounts(caller: Admin, conn: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[AccountView]:
    """The accounts of the caller's subtree, the newest first."""
    rows, after = await service.list_accounts(conn, caller=caller, limit=limit, cursor=cursor)
    return Page(items=[account_view(row) for row in rows], next=after)


@router.post("/accounts/{account_id}/disable")
async def disable_account(request: Request, caller: Admin, conn: Writing, account_id: UUID) -> AccountView:
    """Disable an account: at once its sign-ins are good only for handing in what was written before."""
    return account_view(
        await service.disable_account(conn, caller=caller, account_id=account_id, now=request.app.state.clock.now())
    )


@router.post("/keys", status_code=201)
async def create_key(request: Request, response: Response, caller: Admin, conn: Writing, body: KeyNew) -> KeyShown:
    """A new API key in the caller's subtree, with no scope that the caller lacks. The key is shown this once."""
    await service.may_grant(conn, caller=caller, node=body.node, scopes=frozenset(body.scopes))
    label, _ = clean(body.label, pointer="/label", multiline=False, required=True, most=80)
    row, key = await service.create_key(
        conn, node=body.node, scopes=list(body.scopes), label=label, now=request.app.state.clock.now()
    )
    located(response, f"{router.prefix}/keys/{row['id']}")
    return KeyShown(key=key, **key_view(row).model_dump())


@router.get("/keys")
async def list_keys(caller: Admin, conn: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[KeyView]:
    """The API keys of the caller's subtree, the newest first."""
    rows, after = await service.list_keys(conn, caller=caller, limit=limit, cursor=cursor)
    return Page(items=[key_view(row) for row in rows], next=after)


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(request: Request, caller: Admin, conn: Writing, key_id: UUID) -> None:
    """Revoke an API key."""
    await service.revoke_key(conn, caller=caller, key_id=key_id, now=request.app.state.clock.now())


def _lives(request: Request) -> service.Lives:
    settings = request.app.state.settings
    return service.Lives(
        access=timedelta(minutes=settings.access_token_minutes), refresh=timedelta(days=settings.refresh_token_days)
    )


def _token_pair(request: Request, pair: service.Pair) -> TokenPair:
    return TokenPair(
        access_token=pair.access,
        expires_in=request.app.state.settings.access_token_minutes * 60,
        refresh_token=pair.refresh,
    )
