"""The bytes of attachments: in a directory of this machine, or in S3."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url
from sqlalchemy.engine import make_url

from app.core import problems
from app.core.errors import Problem
from app.core.settings import Settings

log = structlog.get_logger()

# Whole files that a process holds at once; of these, one is made anew: a large photo needs hundreds of megabytes.
MOST_HELD = 4

# A phone waits for the answer: it is told soon that the store is away.
PATIENCE = timedelta(seconds=20)
RETRIES = 2


class Store:
    """Where the bytes are. It is opened when it is first used; a Problem (503) when it cannot be reached."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.holding = asyncio.Semaphore(MOST_HELD)
        self.making = asyncio.Lock()

    async def put(self, key: str, data: bytes) -> None:
        """Store all of it under this name, or nothing; durable when this returns."""
        with _reached():
            await self._objects.put_async(key, data)
            if isinstance(self._objects, LocalStore):
                # What another process has deleted meanwhile need not last.
                with contextlib.suppress(FileNotFoundError):
                    await asyncio.to_thread(_sync, Path(str(self._objects.prefix)), key)

    async def get(self, key: str) -> bytes | None:
        """What is stored under this name; None: nothing is."""
        with _reached():
            try:
                found = await self._objects.get_async(key)
            except FileNotFoundError:
                return None
            return bytes(await found.bytes_async())

    async def names(self, prefix: str) -> list[tuple[str, datetime]]:
        """The names below this one, each with the time it was written, by the store's clock."""
        found = []
        with _reached():
            async for some in self._objects.list(prefix):
                found += [(one["path"], one["last_modified"]) for one in some]
        return found

    async def delete(self, keys: list[str]) -> None:
        """Forget these; one that is gone already is no failure."""
        if keys:
            with _reached():
                try:
                    await self._objects.delete_async(keys)
                except FileNotFoundError:
                    # Another process deletes the same: what is left of them is swept later.
                    log.info("attachment chunks were gone")

    @cached_property
    def _objects(self) -> ObjectStore:
        if self.url.startswith("file:"):
            return from_url(self.url, mkdir=True, automatic_cleanup=True)
        return from_url(self.url, retry_config={"max_retries": RETRIES, "retry_timeout": PATIENCE})


def open_store(settings: Settings) -> Store:
    """The store of `attachments_url`; without one, the directory `attachments` beside the SQLite database."""
    if settings.attachments_url is not None:
        return Store(settings.attachments_url)
    beside = Path("data")
    database = make_url(settings.database_url)
    if database.get_backend_name() == "sqlite" and database.database and database.database != ":memory:":
        beside = Path(database.database).parent
    return Store((beside / "attachments").resolve().as_uri())


@contextlib.contextmanager
def _reached() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        # Its text may hold the store's address.
        log.warning("attachment store failed", error=type(error).__name__)
        raise Problem(problems.STORE_AWAY, headers={"Retry-After": "5"}) from error


def _sync(root: Path, key: str) -> None:
    """A file that was written is not durable before it and the directories that name it are."""
    path = root / key
    for one in (path, *path.parents):
        handle = os.open(one, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if one == root:
            return
