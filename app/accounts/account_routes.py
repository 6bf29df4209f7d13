from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from app.accounts import changes, codes, granting, password_rules
from app.accounts.passwords import NO_PASSWORD, Passwords
from app.accounts.roles import ROLES
from app.accounts.schemas import (
    AccountChange,
    AccountCode,
    AccountMade,
    AccountNew,
    AccountView,
    KeyNew,
    KeyShown,
    KeyView,
    account_view,
    key_view,
)
from app.core.caller import Caller, may
from app.core.database import Reading, Writing, database_of
from app.core.paging import Cursor, Limit, Page
from app.core.tags import located
from app.core.texts import clean

router = APIRouter(prefix="/v1", tags=["sign-in"])

Admin = Annotated[Caller, Depends(may("accounts:admin"))]


@router.post("/accounts", status_code=201)
async def create_account(request: Request, response: Response, caller: Admin, body: AccountNew) -> AccountMade:
    """A new account in the caller's subtree, with no scope that the caller lacks; without a password, with a code."""
    database, passwords, now = database_of(request), request.app.state.passwords, request.app.state.clock.now()
    async with database.reading() as conn:
        await granting.may_grant(conn, caller=caller, node=body.node, scopes=ROLES[body.role])
    (code, plain), fits = codes.new_code(), None
    if body.password is None:
        hashed, digest = NO_PASSWORD, await passwords.code_digest(plain)
    else:
        password_rules.check(body.password, username=body.username, role=body.role)
        hashed, fits = await passwords.hash(body.password), password_rules.fits(body.password)
    async with database.writing() as conn:
        row = await granting.create_account(
            conn,
            username=body.username,
            password_hash=hashed,
            password_fits=fits,
            role=body.role,
            node=body.node,
            now=now,
            caller=caller,
        )
        if body.password is None:
            until = await codes.keep(conn, account_id=row["id"], digest=digest, now=now)
    located(response, f"{router.prefix}/accounts/{row['id']}")
    made = AccountMade(**account_view(row).model_dump())
    return made if body.password is not None else made.model_copy(update={"code": code, "code_expires_at": until})


@router.get("/accounts")
async def list_accounts(caller: Admin, conn: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[AccountView]:
    """The accounts of the caller's subtree, the newest first."""
    rows, after = await granting.list_accounts(conn, caller=caller, limit=limit, cursor=cursor)
    return Page(items=[account_view(row) for row in rows], next=after)


@router.patch("/accounts/{account_id}")
async def change_account(
    request: Request, caller: Admin, conn: Writing, account_id: UUID, body: AccountChange
) -> AccountView:
    """Another role or office: open sign-ins have it with their next request."""
    now = request.app.state.clock.now()
    return account_view(
        await changes.alter(conn, caller=caller, account_id=account_id, role=body.role, node=body.node, now=now)
    )


@router.post("/accounts/{account_id}/disable")
async def disable_account(request: Request, caller: Admin, conn: Writing, account_id: UUID) -> AccountView:
    """Disable an account: at once its sign-ins are good only for handing in what was written before."""
    now = request.app.state.clock.now()
    return account_view(await changes.disable(conn, caller=caller, account_id=account_id, now=now))


@router.post("/accounts/{account_id}/enable")
async def enable_account(caller: Admin, conn: Writing, account_id: UUID) -> AccountView:
    """Enable a disabled account again. Its person signs in anew."""
    return account_view(await changes.enable(conn, caller=caller, account_id=account_id))


@router.post("/accounts/{account_id}/code")
async def give_code(request: Request, caller: Admin, account_id: UUID) -> AccountCode:
    """A one-time code for one more sign-in: a village types no password. The code before is void."""
    return await _give_code(request, caller, account_id, reset=False)


@router.post("/accounts/{account_id}/reset")
async def reset_account(request: Request, caller: Admin, account_id: UUID) -> AccountCode:
    """Forget an account's password and end its sign-ins, as when a phone is lost; a one-time code opens it again."""
    return await _give_code(request, caller, account_id, reset=True)


@router.post("/keys", status_code=201)
async def create_key(request: Request, response: Response, caller: Admin, conn: Writing, body: KeyNew) -> KeyShown:
    """A new API key in the caller's subtree, with no scope that the caller lacks. The key is shown this once."""
    await granting.may_grant(conn, caller=caller, node=body.node, scopes=frozenset(body.scopes))
    label, _ = clean(body.label, pointer="/label", multiline=False, required=True, most=80)
    row, key = await granting.create_key(
        conn,
        node=body.node,
        scopes=list(body.scopes),
        label=label,
        expires_at=body.expires_at,
        now=request.app.state.clock.now(),
    )
    located(response, f"{router.prefix}/keys/{row['id']}")
    return KeyShown(key=key, **key_view(row).model_dump())


@router.get("/keys")
async def list_keys(caller: Admin, conn: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[KeyView]:
    """The API keys of the caller's subtree, the newest first."""
    rows, after = await granting.list_keys(conn, caller=caller, limit=limit, cursor=cursor)
    return Page(items=[key_view(row) for row in rows], next=after)


@router.delete("/keys/{key_id}", status_code=204)
async def revoke_key(request: Request, caller: Admin, conn: Writing, key_id: UUID) -> None:
    """Revoke an API key."""
    await granting.revoke_key(conn, caller=caller, key_id=key_id, now=request.app.state.clock.now())


async def _give_code(request: Request, caller: Caller, account_id: UUID, *, reset: bool) -> AccountCode:
    database, now = database_of(request), request.app.state.clock.now()
    passwords: Passwords = request.app.state.passwords
    # Who may not is refused before anything is hashed; asked again where it is done.
    async with database.writing() as conn:
        await changes.changeable(conn, caller=caller, account_id=account_id)
    code, plain = codes.new_code()
    digest = await passwords.code_digest(plain)
    async with database.writing() as conn:
        row, until = await changes.give_code(
            conn, caller=caller, account_id=account_id, digest=digest, reset=reset, now=now
        )
    return AccountCode(**account_view(row).model_dump(), code=code, code_expires_at=until)
