"""One-time codes: an office makes one, a person types it once, and needs no password."""

import secrets
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.callers import is_closed
from app.accounts.models import Account, Code
from app.nodes.models import Node

# Without what looks or sounds alike: 0 O, 1 I L, 2 Z, 5 S, 8 B, U V.
ALPHABET = "23456789ACDEFGHJKMNPQRTWXY"
LENGTH = 8
GOOD_FOR = timedelta(hours=24)
# As long as a refresh token is answered the same.
SAME_AGAIN = timedelta(minutes=5)
_MISREAD = str.maketrans("ZSB", "258")


@dataclass(frozen=True, slots=True)
class Pending:
    """The account that a code opens."""

    account_id: UUID
    username: str
    role: str


def new_code() -> tuple[str, str]:
    """A new code: as it is shown, in two groups of four, and as it is hashed."""
    made = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return f"{made[:4]}-{made[4:]}", made


def plain(typed: str) -> str | None:
    """A code as it is hashed, whatever case, spaces and dashes it was typed with; None for what cannot be one."""
    text = unicodedata.normalize("NFKC", typed).upper()
    text = "".join(character for character in text if character.isalnum()).translate(_MISREAD)
    return text if len(text) == LENGTH and set(text) <= set(ALPHABET) else None


async def keep(conn: AsyncConnection, *, account_id: UUID, digest: str, now: datetime) -> datetime:
    """Keep a new code of an account, in the place of the one before; until when it is good."""
    await forget(conn, account_id)
    until = now + GOOD_FOR
    await conn.execute(
        insert(Code), [{"code_hash": digest, "account_id": account_id, "made_at": now, "expires_at": until}]
    )
    return until


async def pending(conn: AsyncConnection, *, digest: str, again: str | None, now: datetime) -> Pending | None:
    """The account of a code; None when it is unknown, used or expired, or the account is disabled or its node closed.

    `again` is the digest that the code has once the same try has used it.
    """
    row = (
        await conn.execute(
            select(Account.id, Account.username, Account.role, Node.closed_on)
            .join(Code, Code.account_id == Account.id)
            .join(Node, Node.code == Account.node_code)
            .where(Code.code_hash.in_((digest, again)), Code.expires_at > now, Account.disabled_at.is_(None))
        )
    ).one_or_none()
    return None if row is None or is_closed(row.closed_on, now) else Pending(row.id, row.username, row.role)


async def use(conn: AsyncConnection, *, digest: str, again: str | None, account_id: UUID, now: datetime) -> bool:
    """Use a code up; False when another was faster, or it is good no longer.

    With `again`, the same try may come once more for `SAME_AGAIN`, since its answer may have got lost.
    """
    # Disabling and resetting lock the account too: what they end does not come back by a code used meanwhile.
    await conn.execute(select(Account.id).where(Account.id == account_id).with_for_update(key_share=True))
    if await pending(conn, digest=digest, again=again, now=now) is None:
        return False
    first = Code.code_hash == digest
    if again is None:
        await conn.execute(delete(Code).where(first))
    else:
        await conn.execute(update(Code).where(first).values(code_hash=again, expires_at=now + SAME_AGAIN))
    return True


def digest_again(digest: str, try_id: UUID) -> str:
    """What is stored of a code once the try with this id has used it: to any other try it is unknown."""
    return sha256(f"{digest} {try_id}".encode()).hexdigest()


async def forget(conn: AsyncConnection, account_id: UUID) -> None:
    """An account's code is good no longer."""
    await conn.execute(delete(Code).where(Code.account_id == account_id))
