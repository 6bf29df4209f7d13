"""What has to happen at a time: each kind of it is one job, run by one task in every process."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from app.core.clock import Clock
from app.core.database import Contention, DatabaseAway

log = structlog.get_logger()

REST_SECONDS = 0.1

Job = Callable[[], Awaitable[datetime | None]]


class Timer:
    """Runs `job` again and again: when woken, when the time comes that it named, and every `poll_seconds`.

    With `follows_log` it is woken by this process's commits, though not more often than ten times a second.

    The job does all that is due and answers when it is due next (None: not known of anything). It must be safe to
    run in several processes at once, and to be killed anywhere: what it has not committed is due again.
    """

    def __init__(self, name: str, job: Job, *, clock: Clock, poll_seconds: float, follows_log: bool = False) -> None:
        self.name = name
        self.job = job
        self.follows_log = follows_log
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._woken = asyncio.Event()
        self._stopped = False

    def wake(self) -> None:
        """Something may be due now."""
        self._woken.set()

    def stop(self) -> None:
        """Let a run that has begun end, then begin no other."""
        self._stopped = True
        self._woken.set()

    async def run(self) -> None:
        """Until stopped; whatever goes wrong, the next turn may pass."""
        while not self._stopped:
            self._woken.clear()
            due: datetime | None = None
            try:
                due = await self.job()
            except (DatabaseAway, Contention):
                log.warning("timer waits: database away", timer=self.name)
            except Exception as error:  # noqa: BLE001  one bad row must not stop every clock of the city
                log.error("timer failed", timer=self.name, error=type(error).__name__)
            await self._pause(due)

    async def _pause(self, due: datetime | None) -> None:
        seconds = self._poll_seconds
        if due is not None:
            seconds = min(seconds, (due - self._clock.now()).total_seconds())
        # Many commits a second are looked at together, and what cannot be done now is not tried in a circle.
        await asyncio.sleep(REST_SECONDS)
        if seconds > REST_SECONDS:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds - REST_SECONDS):
                    await self._woken.wait()
