"""What the ledger of warning says of urgent reports: pure, from the moments that were recorded."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

TIERS = ("village", "town", "city")

FIGURES = (
    "raised",
    *(f"carried.{tier}" for tier in TIERS),
    # A village holds nobody's report: it has nothing to open.
    "opened.town",
    "opened.city",
    "acknowledged.any",
    *(f"acknowledged.{tier}" for tier in TIERS),
)

# After these nobody has the alert.
_UNOWNED = frozenset({"alert.released", "alert.rearmed", "alert.escalated", "alert.closed"})
OWNING = sorted({"alert.acknowledged", *_UNOWNED})
"""The steps of an alert's life that tell whose it is."""


@dataclass(frozen=True, slots=True)
class Held:
    """One office above that holds the report."""

    node: str
    due_at: datetime
    opened_at: datetime | None
    bypassed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Step:
    """One step in an alert's life."""

    version: int
    type: str
    at: datetime
    tier: str | None


@dataclass(frozen=True, slots=True)
class Taken:
    """Who had an alert when a report came to it, by tier, and when offices took it on after that."""

    owner: str | None = None
    first: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """An urgent report and the moments that its warning passed, as far as it has."""

    report_id: UUID
    node: str
    tier: str
    level: str
    received_at: datetime
    alert_id: UUID | None
    raised_at: datetime | None
    carried: Mapping[str, datetime]
    held: Mapping[str, Held]
    taken: Taken


@dataclass(frozen=True, slots=True)
class Figure:
    """How long one part of the warning took: `count` reports it concerns, of which `missing` still wait for it."""

    name: str
    count: int
    missing: int
    p50: float | None
    p90: float | None
    worst: float | None


def nearest_rank(ordered: Sequence[float], percent: int) -> float | None:
    """The smallest of the values (sorted) that at least `percent` per cent of them do not exceed; None of none."""
    if not ordered:
        return None
    return ordered[max(1, -(-percent * len(ordered) // 100)) - 1]


def figure(name: str, seconds: Iterable[float | None]) -> Figure:
    """The figure of these seconds; None is a report that still waits."""
    given = list(seconds)
    happened = sorted(value for value in given if value is not None)
    return Figure(
        name=name,
        count=len(given),
        missing=len(given) - len(happened),
        p50=nearest_rank(happened, 50),
        p90=nearest_rank(happened, 90),
        worst=happened[-1] if happened else None,
    )


def figures(entries: Sequence[Entry]) -> list[Figure]:
    """All figures of these reports, in the order of FIGURES."""
    every = [seconds(entry) for entry in entries]
    return [figure(name, (one[name] for one in every if name in one)) for name in FIGURES]


def seconds(entry: Entry) -> dict[str, float | None]:
    """By figure: seconds from received to then, None while it has not happened. Absent: it does not concern the report.

    What had happened before the report came took 0.
    """
    # A report climbs: the tiers below the reporting office have no part in it.
    tiers = TIERS[TIERS.index(entry.tier) :]
    found = {"raised": _after(entry, entry.raised_at)}
    found |= {f"carried.{tier}": _after(entry, entry.carried.get(tier)) for tier in tiers}
    found |= {f"opened.{tier}": _after(entry, held.opened_at) for tier, held in entry.held.items()}
    first = min(entry.taken.first.values(), default=None)
    found["acknowledged.any"] = 0.0 if entry.taken.owner else _after(entry, first)
    for tier in tiers:
        owned = entry.taken.owner == tier
        found[f"acknowledged.{tier}"] = 0.0 if owned else _after(entry, entry.taken.first.get(tier))
    return found


def first_carried(sightings: Sequence[tuple[int, datetime]], version: int) -> datetime | None:
    """When the first answer carried this version or a later one; `sightings` by version, as `suffix_minima` gives."""
    place = bisect_left(sightings, version, key=lambda one: one[0])
    return sightings[place][1] if place < len(sightings) else None


def suffix_minima(sightings: Iterable[tuple[int, datetime]]) -> list[tuple[int, datetime]]:
    """(version, when it was first carried), sorted: with the earliest moment that it or a later one was carried."""
    found: list[tuple[int, datetime]] = []
    for version, at in sorted(sightings, reverse=True):
        found.append((version, min(at, found[-1][1]) if found else at))
    return found[::-1]


def taken(steps: Iterable[Step], version: int) -> Taken:
    """How an alert was taken on, as a report sees it that its `version` is the first to tell of."""
    owner: str | None = None
    first: dict[str, datetime] = {}
    for step in sorted(steps, key=lambda one: one.version):
        if step.type == "alert.acknowledged" and step.tier is not None:
            if step.version <= version:
                owner = step.tier
            else:
                first.setdefault(step.tier, step.at)
        elif step.type in _UNOWNED and step.version <= version:
            owner = None
    return Taken(owner, first)


def _after(entry: Entry, at: datetime | None) -> float | None:
    return None if at is None else max(0.0, (at - entry.received_at).total_seconds())
