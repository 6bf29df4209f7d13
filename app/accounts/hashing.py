import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.core import problems
from app.core.errors import RETRY_SECONDS, Problem

Answer = TypeVar("Answer")

# Two at a time: a hash costs about 145 ms of a core, and reports must go on being taken meanwhile.
WORKERS = 2
# Who comes later is told at once when to come back: three seconds of hashing wait at most.
KNOWN, STRANGERS = 40, 40
# One address never fills the queue of all strangers.
OF_ADDRESS = 8

_Turns = deque[asyncio.Future[None]]


class Pool:
    """Hashing in threads of its own. Who is known goes first; of strangers few wait, and fewer of each address."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2")
        self._busy = 0
        self._known: _Turns = deque()
        self._strangers: _Turns = deque()
        self._counts: Counter[str] = Counter()

    async def run(self, call: Callable[[], Answer], *, stranger: str | None = None) -> Answer:
        """The answer of `call`, made in a thread; `stranger` is the address of one who is not known.

        A Problem (429) with Retry-After when too many wait.
        """
        limits = {"known": KNOWN} if stranger is None else {"strangers": STRANGERS, f"at {stranger}": OF_ADDRESS}
        if any(self._counts[who] >= most for who, most in limits.items()):
            raise Problem(problems.TOO_MANY, seconds=RETRY_SECONDS, headers={"Retry-After": str(RETRY_SECONDS)})
        self._counts.update(limits.keys())
        try:
            await self._turn(self._known if stranger is None else self._strangers)
            work = asyncio.ensure_future(asyncio.get_running_loop().run_in_executor(self._threads, call))
            work.add_done_callback(lambda _done: self._pass_on())
            # Who hangs up does not stop the thread: its place is taken until it is done.
            return await asyncio.shield(work)
        finally:
            self._counts.subtract(limits.keys())
            for who in limits:
                if not self._counts[who]:
                    del self._counts[who]

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)

    async def _turn(self, waiting: _Turns) -> None:
        if self._busy < WORKERS:
            self._busy += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                waiting.remove(turn)
            if not turn.cancelled():
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        for waiting in (self._known, self._strangers):
            while waiting:
                turn = waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
                    return
        self._busy -= 1
