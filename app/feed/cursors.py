from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from app.core import paging, problems
from app.core.errors import Problem


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a city's log: everything up to `seq` has been seen."""

    epoch: UUID
    seq: int


START = Position(UUID(int=0), 0)


def encode(position: Position) -> str:
    """The position as an opaque cursor."""
    return paging.encode("feed", position.epoch.hex, position.seq)


def decode(cursor: str) -> Position:
    """The position of a cursor that `encode` made; a Problem (400) for anything else."""
    epoch, seq = paging.decode("feed", cursor, str, int)
    try:
        position = Position(UUID(hex=epoch), seq)
    except ValueError as error:
        raise Problem(problems.CURSOR_INVALID) from error
    # PostgreSQL's bigint ends here; nothing beyond it was ever given out.
    if not 0 <= seq < 2**63:
        raise Problem(problems.CURSOR_INVALID)
    return position


def etag(position: Position, *about: object) -> str:
    """A strong ETag of a moment in the log and what was asked of it (who, which filters)."""
    text = f"{position.epoch.hex}:{position.seq}:{about!r}"
    return f'"{blake2b(text.encode(), digest_size=12).hexdigest()}"'
