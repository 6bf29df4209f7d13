from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from app.accounts import service
from app.accounts.passwords import Passwords
from app.accounts.roles import ROLES
from app.accounts.schemas import Label, Username
from app.core.database import Database

_USERNAME: TypeAdapter[str] = TypeAdapter(Username)
_LABEL: TypeAdapter[str] = TypeAdapter(Label)


async def create_account(
    database: Database, *, username: str, node: str, role: str, password: str, now: datetime
) -> None:
    """`beacon accounts create`; ValueError or a Problem with one clear line."""
    try:
        _USERNAME.validate_python(username)
    except ValidationError:
        raise ValueError("A username has 3 to 64 of a-z 0-9 . _ - and begins with a letter or digit.") from None
    if role not in ROLES:
        raise ValueError(f"Unknown role: {role}. Known: {', '.join(ROLES)}.")
    passwords = Passwords()
    try:
        hashed = await passwords.hash(password)
    finally:
        passwords.close()
    async with database.writing() as conn:
        await service.create_account(conn, username=username, password_hash=hashed, role=role, node=node, now=now)


async def create_key(database: Database, *, node: str, scopes: list[str], label: str, now: datetime) -> str:
    """`beacon keys create`: the key; ValueError or a Problem with one clear line."""
    try:
        _LABEL.validate_python(label)
    except ValidationError:
        raise ValueError("A label has 1 to 80 characters.") from None
    service.known_scopes(scopes)
    async with database.writing() as conn:
        _, key = await service.create_key(conn, node=node, scopes=scopes, label=label, now=now)
    return key
