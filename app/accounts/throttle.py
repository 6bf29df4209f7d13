import ipaddress
import math
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.core import problems
from app.core.errors import Problem

# Many offices of a town may share one address.
PER_ADDRESS = 10
# Of so many the failures are remembered; beyond, those whose last failure is longest ago are forgotten.
MOST = 50_000
MINUTE = 60.0

_FAILURES = (problems.CREDENTIALS_WRONG, problems.CODE_WRONG, problems.PASSWORD_WRONG)


class Throttle:
    """Failed tries a minute, in this process: by account and address together, and by address. Successes do not count.

    A known device has a count of its own: what strangers do never stops it, whatever address it comes from.
    """

    def __init__(self, *, per_minute: int, monotonic: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._per_minute = per_minute
        self._monotonic = monotonic
        self._most = most
        self._failed: OrderedDict[str, deque[float]] = OrderedDict()
        self._trying: Counter[str] = Counter()

    @contextmanager
    def attempt(self, *, username: str, address: str, device: str | None = None) -> Iterator[None]:
        """Around one try: a Problem (429) with Retry-After when too many have failed or are being tried.

        `device` is the digest of a known device's mark. Problems of wrong credentials or codes are the failures.
        """
        limits = self._limits(username, network(address), device)
        self._trying.update(limits.keys())
        try:
            for who, most in limits.items():
                # Tries that are still being hashed may fail: otherwise a burst would pass before its first failure.
                failed = self._recent(who)
                if len(failed) + self._trying[who] > most:
                    raise self._too_many(failed, most)
            yield
        except Problem as problem:
            if problem.kind in _FAILURES:
                for who, most in limits.items():
                    self._note(who, most)
            raise
        finally:
            self._trying.subtract(limits.keys())
            for who in limits:
                if not self._trying[who]:
                    del self._trying[who]

    def _limits(self, username: str, where: str, device: str | None) -> dict[str, int]:
        if device is not None:
            return {f"device {device}": self._per_minute}
        return {f"{where} {username}": self._per_minute, where: self._per_minute * PER_ADDRESS}

    def _recent(self, who: str) -> deque[float]:
        failed = self._failed.get(who, deque())
        while failed and failed[0] <= self._monotonic() - MINUTE:
            failed.popleft()
        return failed

    def _note(self, who: str, most: int) -> None:
        failed = self._failed.setdefault(who, deque(maxlen=most))
        failed.append(self._monotonic())
        self._failed.move_to_end(who)
        while self._failed:
            oldest = next(iter(self._failed.values()))
            if len(self._failed) <= self._most and oldest and oldest[-1] > self._monotonic() - MINUTE:
                break
            self._failed.popitem(last=False)

    def _too_many(self, failed: deque[float], most: int) -> Problem:
        wait = failed[0] + MINUTE - self._monotonic() if len(failed) >= most else 1
        seconds = max(1, math.ceil(wait))
        return Problem(problems.TOO_MANY, seconds=seconds, headers={"Retry-After": str(seconds)})


def network(address: str) -> str:
    """What one guesser has of addresses: an IPv4 address, or the /64 around an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        mapped = found.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((found.packed, 64), strict=False))
    return str(found)
