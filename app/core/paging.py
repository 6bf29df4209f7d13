import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel

from app.core import problems
from app.core.errors import Problem

Limit = Annotated[int, Query(ge=1, le=500, description="Most items in one answer.")]
Cursor = Annotated[str | None, Query(max_length=512, description="`next` of the answer before.")]

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page of a list; `next` is the cursor of the page after, absent on the last."""

    items: list[Item]
    next: str | None = None


def encode(kind: str, *values: str | int) -> str:
    """An opaque, URL-safe cursor of `values`, good only for lists of `kind`."""
    raw = json.dumps([kind, *values], separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(kind: str, cursor: str, *types: type) -> tuple[Any, ...]:
    """The values of a cursor that `encode` made for the same kind; a Problem (400) for anything else."""
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        found = json.loads(raw)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise Problem(problems.CURSOR_INVALID) from error
    if (
        not isinstance(found, list)
        or len(found) != len(types) + 1
        or found[0] != kind
        or not all(type(value) is wanted for value, wanted in zip(found[1:], types, strict=True))
    ):
        raise Problem(problems.CURSOR_INVALID)
    return tuple(found[1:])


def encode_moment(kind: str, at: datetime, item_id: UUID) -> str:
    """The cursor of lists that are ordered by a time and an id."""
    return encode(kind, at.isoformat(), item_id.hex)


def decode_moment(kind: str, cursor: str) -> tuple[datetime, UUID]:
    """The time and id of such a cursor; a Problem (400) for anything else."""
    at, item_id = decode(kind, cursor, str, str)
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC), UUID(hex=item_id)
    except (ValueError, OverflowError) as error:
        raise Problem(problems.CURSOR_INVALID) from error
