import math
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from app.core import problems
from app.core.errors import Problem

# Many offices of a town may share one address.
PER_ADDRESS = 10


class Throttle:
    """Failed sign-ins per username and per client address, a minute, in this process. Successes do not count."""

    def __init__(self, *, per_minute: int) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._per_username = parse(f"{per_minute}/minute")
        self._per_address = parse(f"{per_minute * PER_ADDRESS}/minute")
        self._trying: Counter[str] = Counter()

    @asynccontextmanager
    async def attempt(self, *, username: str, address: str) -> AsyncIterator[None]:
        """Around one try: a Problem (429) with Retry-After when too many have failed or are being tried.

        Problems of the kind CREDENTIALS_WRONG are its failures.
        """
        limits = ((self._per_username, f"u:{username}"), (self._per_address, f"a:{address}"))
        for _, who in limits:
            self._trying[who] += 1
        try:
            for limit, who in limits:
                # Tries that are still being hashed may fail: otherwise a burst would pass before its first failure.
                if not await self._limiter.test(limit, who, cost=self._trying[who]):
                    raise await self._too_many(limit, who)
            yield
        except Problem as problem:
            if problem.kind is problems.CREDENTIALS_WRONG:
                for limit, who in limits:
                    await self._limiter.hit(limit, who)
            raise
        finally:
            for _, who in limits:
                self._trying[who] -= 1
                if not self._trying[who]:
                    del self._trying[who]

    async def _too_many(self, limit: RateLimitItem, who: str) -> Problem:
        window = await self._limiter.get_window_stats(limit, who)
        seconds = max(1, math.ceil(window.reset_time - time.time())) if window.remaining <= 0 else 1
        return Problem(problems.TOO_MANY, seconds=seconds, headers={"Retry-After": str(seconds)})
