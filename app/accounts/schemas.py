from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.accounts.passwords import MAX_LENGTH, MIN_LENGTH

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
    refresh_token: str


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
            "example": {"username": "shangkou-desk", "node": "370783108000", "role": "desk", "password": "at-least-ten"}
        },
    )

    username: Username
    node: NodeCode
    role: Role
    password: str = Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH)


class AccountView(BaseModel):
    """An account: nothing of the person but a username."""

    id: UUID
    username: str
    node: str
    role: str
    created_at: datetime
    disabled_at: datetime | None


class KeyNew(BaseModel):
    """A sign-in for a machine."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"node": "370783000000", "scopes": ["alerts:read"], "label": "dashboard"}},
    )

    node: NodeCode
    scopes: list[Scope] = Field(min_length=1, max_length=9)
    label: Label


class KeyView(BaseModel):
    """An API key, without the key."""

    id: UUID
    prefix: str
    label: str
    node: str
    scopes: list[str]
    created_at: datetime
    revoked_at: datetime | None


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
    )
