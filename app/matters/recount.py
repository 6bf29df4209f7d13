"""What an incident is, counted from what its reports told: pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.hazards.cap import Level


@dataclass(frozen=True, slots=True)
class Telling:
    """One version of a report; or, without a report, what an incident was opened with that nobody had reported."""

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
    last_observed_at: datetime


@dataclass(frozen=True, slots=True)
class Before:
    """What an incident, or one that is part of it, was called before, and by whom it was reported."""

    headline: str
    nodes: Sequence[str]


def recount(tellings: Iterable[Telling], before: Sequence[Before]) -> Standing:
    """How the incident stands. Its level is the gravest that any version of its reports had.

    Its headline is that of the first telling of this level, and its nodes stand in the order they were heard in. Where
    two tellings came at one moment, what it was `before` decides, the first of them first.
    """
    told = sorted(tellings, key=lambda one: (one.at, str(one.report_id)))
    level = max((one.level for one in told), key=lambda one: one.rank)
    gravest = [one.headline for one in told if one.level == level]
    headline = next((one.headline for one in before if one.headline in gravest), gravest[0])
    heard = {one.node for one in told}
    order = [*(node for one in before for node in one.nodes if node in heard), *(one.node for one in told)]
    return Standing(
        reports=len({one.report_id for one in told if one.report_id is not None}),
        nodes=tuple(dict.fromkeys(order)),
        level=level,
        headline=headline,
        last_observed_at=max(one.observed_at for one in told),
    )
