"""Every change of an account stands in the log, with nothing of the person but a username."""

from dataclasses import asdict, dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.caller import Caller
from app.core.database import announce

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """Announced after commit: what was done to which account, and who did it."""

    did: str
    account: str
    node: str
    role: str
    by: str


def tell(conn: AsyncConnection, did: str, *, username: str, node: str, role: str, caller: Caller | None) -> None:
    """Log a change once it is committed; no caller is the command line, on the server."""
    by = "server" if caller is None else caller.label if caller.key_id is None else f"key {caller.key_id}"
    announce(conn, AccountChanged(did, username, node, role, by))


def heard(message: object) -> None:
    """A listener of the database: writes the line."""
    if isinstance(message, AccountChanged):
        log.info("account changed", **asdict(message))
