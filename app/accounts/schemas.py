from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.accounts.password_rules import MAX_LENGTH
from app.accounts.passwords import NO_PASSWORD
from app.core.times import Time

# PostgreSQL cannot be asked about a text with a NUL.
NO_NUL = r"^[^\x00]*$"

Username = Annotated[str, Field(min_length=3, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Label = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
NodeCode = Annotated[str, Field(max_length=32, pattern=NO_NUL)]
Scope = Literal[
    "reports:write",
    "reports:read",
    "alerts:read",
    "alerts:act",
    "warnings:read",
    "warnings:write",
    "nodes:admin",
    "accounts:admin",
    "interop:read",
]
Role = Literal["reporter", "desk", "supervisor", "admin"]


class TokenPair(BaseModel):
    """What a sign-in gives (RFC 6749)."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105  the name of the kind
    expires_in: int = Field(description="seconds the access token is good")
    refresh_token: str = Field(description="good for another whole life each time it is used")


class SignedInPair(TokenPair):
    """A new sign-in: the tokens, and the mark of the device."""

    device: str = Field(description="send it with the next sign-in on this device: strangers never lock it out")


class Enrol(BaseModel):
    """A one-time code, for a sign-in."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"code": "7K3M-XQ4T"}})

    code: str = Field(max_length=40, description="in any case, with or without spaces and dashes")
    id: UUID | None = Field(
        None, description="made by the device: with the same one the code is good again for five minutes"
    )
    password: str | None = Field(None, max_length=MAX_LENGTH, description="a new password, for who wants one")
    device: str | None = Field(None, max_length=100)


class PasswordChange(BaseModel):
    """Another password of one's own."""

    model_config = ConfigDict(extra="forbid")

    old_password: str = Field(max_length=1000)
    new_password: str = Field(max_length=MAX_LENGTH)


class Refresh(BaseModel):
    """A refresh token, for both tokens anew."""

    model_config = ConfigDict(extra="forbid")

    refresh_token: str = Field(max_length=100)


class Revoke(BaseModel):
    """A token of either kind, to end its sign-in."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=100)


class Me(BaseModel):
    """Who is signed in, and where."""

    node: str
    node_name: str
    tier: str
    path: list[str] = Field(description="codes from the city down to the node")
    role: str | None = Field(description="none for a key")
    scopes: list[str]
    label: str = Field(description="the username, or the key's label")


class AccountNew(BaseModel):
    """A sign-in for a person at one node."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "username": "shangkou-desk",
                "node": "370783108000",
                "role": "desk",
                "password": "three words of mine",
            }
        },
    )

    username: Username
    node: NodeCode
    role: Role
    password: str | None = Field(
        None,
        max_length=MAX_LENGTH,
        description="at least 8 characters for reporters, 10 for desk and supervisor, 12 for admins; without one the "
        "answer has a one-time code",
    )


class AccountChange(BaseModel):
    """Another role, another office, or both."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"role": "desk"}})

    role: Role | None = None
    node: NodeCode | None = None


class AccountView(BaseModel):
    """An account: nothing of the person but a username."""

    id: UUID
    username: str
    node: str
    role: str
    created_at: datetime
    disabled_at: datetime | None
    has_password: bool = Field(description="without one it signs in by one-time codes")


class AccountCode(AccountView):
    """An account with a one-time code, shown this once."""

    code: str = Field(description="to be said or printed; POST /v1/auth/enrol takes it once")
    code_expires_at: datetime


class AccountMade(AccountView):
    """A new account, with its one-time code when it has no password."""

    code: str | None = Field(None, description="shown this once; POST /v1/auth/enrol takes it once")
    code_expires_at: datetime | None = None


class KeyNew(BaseModel):
    """A sign-in for a machine."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"node": "370783000000", "scopes": ["alerts:read"], "label": "dashboard"}},
    )

    node: NodeCode
    scopes: list[Scope] = Field(min_length=1, max_length=9)
    label: Label
    expires_at: Time | None = Field(None, description="from then on the key is refused")


class KeyView(BaseModel):
    """An API key, without the key."""

    id: UUID
    prefix: str
    label: str
    node: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to the minute")


class KeyShown(KeyView):
    """A new API key, shown this once."""

    key: str


def account_view(row: Mapping[str, Any]) -> AccountView:
    """A row of `accounts` as the wire shows it."""
    return AccountView(
        id=row["id"],
        username=row["username"],
        node=row["node_code"],
        role=row["role"],
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        has_password=row["password_hash"] != NO_PASSWORD,
    )


def key_view(row: Mapping[str, Any]) -> KeyView:
    """A row of `api_keys` as the wire shows it."""
    return KeyView(
        id=row["id"],
        prefix=row["prefix"],
        label=row["label"],
        node=row["node_code"],
        scopes=row["scopes"],
        created_at=row["created_at"],
        revoked_at=row["revoked_at"],
        expires_at=row["expires_at"],
        last_used_at=row["last_used_at"],
    )
