"""A revocation is an internal entry of its city's log: it wakes whoever waits, in every process, at once.

Nobody is shown it: `service.within` leaves it out, for clients and receivers.
"""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from app.accounts.callers import Revoked
from app.core.clock import Clock
from app.core.ids import new_id
from app.feed import service
from app.feed.service import INTERNAL, Event
from app.nodes.service import TreeChange


class Revocations:
    """Writes each revocation that a transaction announces to the log, in that transaction, last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def record(self, conn: AsyncConnection, announced: Sequence[object]) -> None:
        """Called before the commit: see `Database.before_commit`."""
        events: dict[str, list[list[Event]]] = defaultdict(list)
        for one in announced:
            if isinstance(one, Revoked):
                events[one.city_id].append([Event("sign_in.ended", INTERNAL, one.id, 0, one.node, {})])
            elif isinstance(one, TreeChange) and one.kind == "closed":
                # With its office end all sign-ins there.
                events[one.city_id].append([Event("sign_in.ended", INTERNAL, new_id(), 0, one.code, {})])
        for city_id, operations in sorted(events.items()):
            await service.append(conn, city_id=city_id, operations=operations, now=self._clock.now())
