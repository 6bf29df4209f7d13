from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.database import Contention, Database

TRIES = 20

Answer = TypeVar("Answer")


class _Dry(Exception):
    """Ends a transaction of which nothing is to remain."""


async def trying(
    database: Database, act: Callable[[AsyncConnection], Awaitable[Answer]], *, dry_run: bool = False
) -> Answer:
    """The answer of `act`, in a transaction of its own; with `dry_run` nothing of it remains.

    Where another writer was first it is done again.
    """
    for _ in range(TRIES):
        try:
            async with database.writing() as conn:
                answer = await act(conn)
                if dry_run:
                    raise _Dry
                return answer
        except _Dry:
            return answer
        except Contention:
            continue
    raise Contention
