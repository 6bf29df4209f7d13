from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Form, Request

from app.accounts import changes, codes, password_rules, service
from app.accounts.passwords import Passwords
from app.accounts.schemas import (
    NO_NUL,
    Enrol,
    Me,
    PasswordChange,
    Refresh,
    Revoke,
    SignedInPair,
    TokenPair,
)
from app.accounts.throttle import Throttle
from app.accounts.tokens import digest
from app.core import problems
from app.core.caller import SignedIn, refused
from app.core.database import Reading, Writing, database_of
from app.core.errors import Problem
from app.nodes import lookup

router = APIRouter(prefix="/v1", tags=["sign-in"])


@router.post("/auth/token")
async def get_token(
    request: Request,
    username: Annotated[str, Form(max_length=64, pattern=NO_NUL)],
    password: Annotated[str, Form(max_length=1000)],
    grant_type: Annotated[str, Form(max_length=32)] = "password",
    scope: Annotated[str, Form(max_length=500, description="Ignored: a role's scopes are fixed.")] = "",
    device: Annotated[str, Form(max_length=100, description="The mark that this device was given.")] = "",
) -> SignedInPair:
    """Sign in with a username and a password (OAuth2 password form)."""
    if grant_type != "password":
        raise Problem(problems.GRANT_UNSUPPORTED)
    state = request.app.state
    throttle: Throttle = state.throttle
    passwords: Passwords = state.passwords
    address = _address(request)
    # No transaction is open while hashing: it takes longer than everything else together.
    async with database_of(request).reading() as conn:
        found = await service.stored_password(conn, username=username, device=device, now=state.clock.now())
    known = found is not None and found.known_device
    with throttle.attempt(username=username, address=address, device=digest(device) if known else None):
        stored = found.password_hash if found else None
        if not await passwords.verify(password, stored, stranger=None if known else address) or found is None:
            raise refused(problems.CREDENTIALS_WRONG)
    async with database_of(request).writing() as conn:
        # It may have been disabled, or reset, while this was hashed.
        if not await service.is_still(conn, account_id=found.account_id, password_hash=found.password_hash):
            raise refused(problems.CREDENTIALS_WRONG)
        pair, mark = await service.sign_in(
            conn, account_id=found.account_id, device=device, lives=_lives(request), now=state.clock.now()
        )
    return SignedInPair(**_token_pair(request, pair).model_dump(), device=mark)


@router.post("/auth/enrol")
async def enrol(request: Request, body: Enrol) -> SignedInPair:
    """Sign in with a one-time code, and set a password or none. The code is used up."""
    state = request.app.state
    throttle: Throttle = state.throttle
    passwords: Passwords = state.passwords
    address, code, hashed = _address(request), codes.plain(body.code), None
    # Under no username: a stranger's wrong codes stop only those of the same address.
    with throttle.attempt(username="", address=address):
        if code is None:
            raise refused(problems.CODE_WRONG)
        code_digest = await passwords.code_digest(code, stranger=address)
        again = codes.digest_again(code_digest, body.id) if body.id else None
        async with database_of(request).reading() as conn:
            found = await codes.pending(conn, digest=code_digest, again=again, now=state.clock.now())
        if found is None:
            raise refused(problems.CODE_WRONG)
        if body.password is not None:
            password_rules.check(body.password, username=found.username, role=found.role)
            hashed = await passwords.hash(body.password)
        async with database_of(request).writing() as conn:
            if not await codes.use(
                conn, digest=code_digest, again=again, account_id=found.account_id, now=state.clock.now()
            ):
                raise refused(problems.CODE_WRONG)
            if hashed is not None and body.password is not None:
                await changes.set_password(
                    conn,
                    account_id=found.account_id,
                    password_hash=hashed,
                    password_fits=password_rules.fits(body.password),
                    spare=None,
                )
            pair, mark = await service.sign_in(
                conn, account_id=found.account_id, device=body.device, lives=_lives(request), now=state.clock.now()
            )
    return SignedInPair(**_token_pair(request, pair).model_dump(), device=mark)


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


@router.post("/me/password", status_code=204)
async def change_password(request: Request, caller: SignedIn, body: PasswordChange) -> None:
    """Change one's own password. The account's other sign-ins end; this one stays."""
    if caller.account_id is None:
        raise Problem(problems.ACCOUNT_NEEDED)
    state = request.app.state
    throttle: Throttle = state.throttle
    passwords: Passwords = state.passwords
    async with database_of(request).reading() as conn:
        found = await service.own_password(conn, account_id=caller.account_id)
    password_rules.check(body.new_password, username=caller.label, role=caller.role or "admin", pointer="/new_password")
    # Who is signed in guesses at the expense of this account's own tries alone.
    with throttle.attempt(username="", address="", device=f"account {caller.account_id}"):
        if not await passwords.verify(body.old_password, found):
            raise Problem(problems.PASSWORD_WRONG, pointer="/old_password")
        hashed = await passwords.hash(body.new_password)
        async with database_of(request).writing() as conn:
            if not await service.is_still(conn, account_id=caller.account_id, password_hash=found):
                raise Problem(problems.PASSWORD_WRONG, pointer="/old_password")
            await changes.set_password(
                conn,
                account_id=caller.account_id,
                password_hash=hashed,
                password_fits=password_rules.fits(body.new_password),
                spare=caller.sign_in_id,
                caller=caller,
            )
            await codes.forget(conn, caller.account_id)


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


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
