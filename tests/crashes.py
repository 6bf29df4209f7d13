"""Work that dies: run in a forked process that is killed before one statement after the other."""

import asyncio
import gc
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
from sqlalchemy import Engine, Pool, event
from sqlalchemy.engine import make_url

from app.core.database import Database

PATIENCE = 30

Work = Callable[[Database], Awaitable[object]]


def killed_everywhere(url: str, work: Work) -> Iterator[int]:
    """Do `work` over and over, killed one point later each time, until it gets to its end; each point it died at.

    A point lies before every statement, before every commit, and behind it. What one run has committed the next one
    finds done: to see every point of work with several transactions, run `killed_at` on a new database each time.
    """
    point = 1
    while killed_at(url, work, point):
        yield point
        point += 1


def killed_at(url: str, work: Work, point: int) -> bool:
    """Do `work` in a process of its own that is killed (SIGKILL) at its point number `point`, from 1.

    False: the work ended before it came so far. The child has its own event loop and its own Database on `url`. On
    SQLite nobody in this process may hold the database open meanwhile: its locks do not survive a fork.
    """
    before = _sessions(url)
    with warnings.catch_warnings():
        # Threads do not come along: the child needs none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _die_or_end(url, work, point)
    _, status = os.waitpid(child, 0)
    _await_no_others(url, before)
    if os.WIFEXITED(status):
        if os.WEXITSTATUS(status) != 0:
            raise RuntimeError(f"the work failed in its process before point {point}; its traceback is on stderr")
        return False
    if os.WTERMSIG(status) != signal.SIGKILL:
        raise RuntimeError(f"the work was ended by signal {os.WTERMSIG(status)} before point {point}")
    return True


def _die_or_end(url: str, work: Work, point: int) -> None:
    """The child's life; it never returns to the test."""
    code = 1
    try:
        # Nothing of the parent's is finalized here: its connections are its own.
        gc.disable()
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        passed = 0

        def pass_point(*_: Any) -> None:
            nonlocal passed
            passed += 1
            if passed == point:
                os.kill(os.getpid(), signal.SIGKILL)

        for target, name in ((Engine, "before_cursor_execute"), (Engine, "commit"), (Pool, "checkin")):
            event.listen(target, name, pass_point)

        async def once() -> None:
            database = Database(url)
            await work(database)
            await database.close()

        asyncio.run(once())
        code = 0
    except BaseException:  # noqa: BLE001  whatever it is, it must not unwind into the test's own frames
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def _await_no_others(url: str, before: set[int]) -> None:
    """PostgreSQL notices a dead client by itself; until then its locks are held, and rows would be passed over."""
    until = time.monotonic() + PATIENCE
    while _sessions(url) - before:
        if time.monotonic() > until:
            raise RuntimeError("PostgreSQL still has the dead process's sessions")
        time.sleep(0.002)


def _sessions(url: str) -> set[int]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return set()

    async def ask() -> set[int]:
        conn = await asyncpg.connect(
            host=parsed.host, port=parsed.port, user=parsed.username, database="postgres", ssl=False
        )
        try:
            found = await conn.fetch("SELECT pid FROM pg_stat_activity WHERE datname = $1", parsed.database)
        finally:
            await conn.close()
        return {row["pid"] for row in found}

    # A thread of its own: the caller's may have a running loop.
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(ask())).result()
