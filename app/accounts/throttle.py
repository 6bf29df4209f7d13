import math
import time

from limits import parse
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

    async def check(self, *, username: str, address: str) -> None:
        """A Problem (429) with Retry-After when too many have failed."""
        for limit, who in ((self._per_username, f"u:{username}"), (self._per_address, f"a:{address}")):
            if not await self._limiter.test(limit, who):
                window = await self._limiter.get_window_stats(limit, who)
                seconds = max(1, math.ceil(window.reset_time - time.time()))
                raise Problem(problems.TOO_MANY, seconds=seconds, headers={"Retry-After": str(seconds)})

    async def failed(self, *, username: str, address: str) -> None:
        """Count a failure."""
        await self._limiter.hit(self._per_username, f"u:{username}")
        await self._limiter.hit(self._per_address, f"a:{address}")
