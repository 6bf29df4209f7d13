from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.database import Base, Json, UtcDateTime


class Account(Base):
    """A person's sign-in at exactly one node. It holds nothing of the person but a username."""

    __tablename__ = "accounts"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(64))
    password_hash: Mapped[str] = mapped_column(String(255), comment="argon2id, PHC string")
    password_fits: Mapped[int | None] = mapped_column(comment="the longest of the least lengths it has; NULL: ten")
    role: Mapped[str] = mapped_column(String(16))
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"))
    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        UniqueConstraint("username"),
        CheckConstraint("role IN ('reporter', 'desk', 'supervisor', 'admin')", name="role"),
        Index(None, "node_code"),
    )


class Token(Base):
    """An opaque token, kept only as its SHA-256. Refreshing replaces both tokens of a sign-in."""

    __tablename__ = "tokens"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    sign_in_id: Mapped[UUID] = mapped_column(comment="all tokens that came of one sign-in; revoked together")
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="a refresh token used twice was stolen")
    salt: Mapped[str | None] = mapped_column(String(64), comment="with the token: what the pair after it comes of")

    __table_args__ = (
        CheckConstraint("kind IN ('access', 'refresh')", name="kind"),
        Index(None, "sign_in_id"),
        Index(None, "account_id"),
        Index(None, "expires_at"),
    )


class Mark(Base):
    """What a known device shows when it signs in again, kept only as its SHA-256."""

    __tablename__ = "marks"

    mark_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    used_at: Mapped[datetime] = mapped_column(UtcDateTime, comment="the last sign-in with it")

    __table_args__ = (Index(None, "account_id"), Index(None, "used_at"))


class Code(Base):
    """A one-time code that stands for a sign-in; an account has at most one. Using it removes it."""

    __tablename__ = "codes"

    code_hash: Mapped[str] = mapped_column(String(64), primary_key=True, comment="SHA-256 of its argon2id")
    account_id: Mapped[UUID] = mapped_column(ForeignKey("accounts.id"))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (UniqueConstraint("account_id"), Index(None, "expires_at"))


class ApiKey(Base):
    """A machine's sign-in, kept only as its SHA-256."""

    __tablename__ = "api_keys"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    key_hash: Mapped[str] = mapped_column(String(64))
    prefix: Mapped[str] = mapped_column(String(16), comment="the key's first characters, to tell keys apart")
    label: Mapped[str] = mapped_column(String)
    node_code: Mapped[str] = mapped_column(ForeignKey("nodes.code"))
    city_id: Mapped[str] = mapped_column(ForeignKey("cities.city_id"))
    scopes: Mapped[list[str]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="to the minute, written behind")

    __table_args__ = (UniqueConstraint("key_hash"), Index(None, "node_code"))
