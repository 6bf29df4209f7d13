from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import bindparam, update

from app.accounts.models import ApiKey
from app.core.clock import Clock
from app.core.database import Database

APART = timedelta(minutes=1)


class KeyUse:
    """Notes when keys are used, at most once a minute each, and writes it down behind: no request waits for it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._noted: dict[UUID, datetime] = {}
        self._waiting: dict[UUID, datetime] = {}

    def note(self, key_id: UUID) -> None:
        """This key is used now."""
        now = self._clock.now()
        noted = self._noted.get(key_id)
        if noted is None or now - noted >= APART:
            self._noted[key_id] = self._waiting[key_id] = now

    async def flush(self, database: Database) -> None:
        """Write down what was noted; of several processes the latest counts."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        # In one order, so that two processes never wait for each other.
        rows = [{"key": key_id, "at": at} for key_id, at in sorted(waiting.items())]
        later = ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at < bindparam("at"))
        note = update(ApiKey).where(ApiKey.id == bindparam("key"), later).values(last_used_at=bindparam("at"))
        try:
            async with database.writing() as conn:
                await conn.execute(note, rows)
        except BaseException:
            self._waiting = {**waiting, **self._waiting}
            raise
