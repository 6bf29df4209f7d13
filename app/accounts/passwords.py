import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from app.core import problems
from app.core.errors import RETRY_SECONDS, Problem

Answer = TypeVar("Answer")

MIN_LENGTH, MAX_LENGTH = 10, 256

# Two at a time: a hash costs about 145 ms of a core, and reports must go on being taken meanwhile.
WORKERS = 2
QUEUE = 40


class Passwords:
    """Argon2id, off the event loop and bounded, so that a flood of sign-ins stalls nobody else."""

    def __init__(self, hasher: Argon2Hasher | None = None) -> None:
        self._hash = PasswordHash((hasher or Argon2Hasher(),))
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="argon2")
        self._waiting = 0
        # What an unknown username is checked against, so that it takes as long as a known one.
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The PHC string to store; ValueError for a password of the wrong length."""
        if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
            raise ValueError(f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters.")
        return await self._run(self._hash.hash, password)

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether it is the password; False, after the same work, where nothing is stored."""
        if len(password) > MAX_LENGTH:
            return False
        if stored is None:
            if self._nobody is None:
                # To hash once costs what a verification costs.
                self._nobody = await self._run(self._hash.hash, "nobody has this password")
            else:
                await self._run(self._hash.verify, password, self._nobody)
            return False
        return await self._run(self._hash.verify, password, stored)

    async def _run(self, call: Callable[..., Answer], *args: str) -> Answer:
        if self._waiting >= QUEUE:
            raise Problem(problems.TOO_MANY, seconds=RETRY_SECONDS, headers={"Retry-After": str(RETRY_SECONDS)})
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False)
