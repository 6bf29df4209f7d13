"""What an incident is, counted from what its reports told: pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.hazards.cap import Level


@dataclass(frozen=True, slots=True)
class Telling:
    """One version of a report; or, without a report, what an incident was opened with that nobody had reported.

    `headline` is what the report says now, whatever this version said.
    """

    report_id: UUID | None
    node: str
    at: datetime
    level: Level
    observed_at: datetime
    headline: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What its reports make of an incident."""

    reports: int
    nodes: tuple[str, ...]
    level: Level
    headline: str
    first_observed_at: datetime
    last_observed_at: datetime


@dataclass(frozen=True, slots=True)
class Before:
    """What an incident, or one that is part of it, was before: how grave, what it was called, who reported it."""

    level: Level
    headline: str
    nodes: Sequence[str]


def recount(tellings: Iterable[Telling], before: Sequence[Before]) -> Standing:
    """How the incident stands. Its level is the gravest that any version of its reports had.

    What it was called `before`, when it was as grave, it is called still if one of its reports says so now; the first
    of them comes first. Otherwise it is called after the report that was first of this level. Its nodes stand in the
    order they were heard in.
    """
    told = sorted(tellings, key=lambda one: (one.at, str(one.report_id)))
    level = max((one.level for one in told), key=lambda one: one.rank)
    said = {one.headline for one in told}
    kept = (one.headline for one in before if one.level == level and one.headline in said)
    headline = next(kept, next(one.headline for one in told if one.level == level))
    heard = {one.node for one in told}
    order = [*(node for one in before for node in one.nodes if node in heard), *(one.node for one in told)]
    return Standing(
        reports=len({one.report_id for one in told if one.report_id is not None}),
        nodes=tuple(dict.fromkeys(order)),
        level=level,
        headline=headline,
        first_observed_at=min(one.observed_at for one in told),
        last_observed_at=max(one.observed_at for one in told),
    )
