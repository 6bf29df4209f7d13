import time
from collections.abc import Callable
from uuid import UUID

from sqlalchemy import ColumnElement

from app.accounts.standing import ended, standing
from app.core.caller import Caller
from app.core.clock import Clock
from app.core.database import Database
from app.feed import service
from app.feed.cursors import Position
from app.feed.heads import Heads
from app.feed.service import Entries


async def follow(
    database: Database,
    heads: Heads,
    *,
    clock: Clock,
    caller: Caller,
    topic: str,
    within: ColumnElement[bool],
    since: Position,
    limit: int,
    wait: float,
    drill_id: UUID | None = None,
    of_tree: str | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Entries:
    """The entries after `since`; when there are none, wait up to `wait` seconds for one.

    Of what is real, or of one drill, and of the tree (`of_tree`, as in `read`). The answer's position is advanced also
    when nothing matched. No connection is held while waiting.
    A Problem (401) at once when the caller's sign-in ends meanwhile, wherever it was revoked, or expires.
    """
    city_id, until = caller.city_id, monotonic() + wait
    while True:
        now = clock.now()
        if caller.expires_at is not None and caller.expires_at <= now:
            raise ended(None)
        if heads.latest(city_id) == since:
            found = Entries((), since, 0)
        else:
            async with database.reading() as conn:
                found = await service.read(
                    conn,
                    city_id=city_id,
                    topic=topic,
                    within=within,
                    since=since,
                    limit=limit,
                    drill_id=drill_id,
                    of_tree=of_tree,
                    standing=standing(caller, now),
                )
        left = until - monotonic()
        if found.entries or left <= 0 or heads.stopping:
            return found
        if caller.expires_at is not None:
            left = min(left, (caller.expires_at - now).total_seconds())
        since = found.position
        await heads.wait(city_id, beyond=since, seconds=left)
