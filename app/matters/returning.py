"""Which reports go back when a merge is undone: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Pointed:
    """The alias was, from then on, an alias of `to`."""

    at: datetime
    to: UUID


@dataclass(frozen=True, slots=True)
class Moved:
    """A report went from one incident to another."""

    at: datetime
    of: UUID
    to: UUID


def returning(alias: UUID, pointed: Sequence[Pointed], moved: Mapping[UUID, Sequence[Moved]]) -> set[UUID]:
    """The reports that left `alias` by its last merge and have followed it ever since.

    `pointed` is what the alias has pointed to since that merge, `moved` all moves of the reports that it brought, both
    in order. A report that went elsewhere meanwhile has left it behind, also when a later merge brought it back.
    """
    way = [(one.at, one.to) for one in pointed]
    found = set()
    for report_id, moves in moved.items():
        left = [number for number, one in enumerate(moves) if (one.of, one.at, one.to) == (alias, *way[0])]
        if left and [(one.at, one.to) for one in moves[left[-1] :]] == way:
            found.add(report_id)
    return found
