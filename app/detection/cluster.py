"""Whether reports of one kind lie close together: pure, from plain values."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.core.geo import distance_m
from app.incidents.matching import near_key, near_keys


@dataclass(frozen=True, slots=True)
class Sighting:
    """One report, as far as place and time are concerned: its own place, else its node's, else none."""

    id: UUID
    node: str
    at: datetime
    lat: float | None = None
    lon: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How many reports, of how many nodes, within what distance and time are a cluster."""

    reports: int
    nodes: int
    radius_m: float
    window: timedelta


@dataclass(frozen=True, slots=True)
class Cluster:
    """Reports close to one of them, the earliest first, with the sentence that says so."""

    members: tuple[Sighting, ...]
    nodes: int
    sentence: str
    sentence_zh: str


def linked(one: Sighting, other: Sighting, limits: Limits) -> bool:
    """Whether two reports are of one place and time. Without a place for both, of one node."""
    if abs(one.at - other.at) > limits.window:
        return False
    if one.lat is None or one.lon is None or other.lat is None or other.lon is None:
        return one.node == other.node
    return distance_m(one.lat, one.lon, other.lat, other.lon) <= limits.radius_m


def around(centre: Sighting, others: Iterable[Sighting], limits: Limits) -> Cluster | None:
    """The largest cluster that holds `centre`, the earliest of equals; None when there is none.

    Its members lie within the radius of `centre`, and no two of them further apart in time than the window.
    """
    near = {other.id: other for other in others if linked(centre, other, limits)} | {centre.id: centre}
    ordered = sorted(near.values(), key=_order)
    times = [one.at for one in ordered]
    nodes: Counter[str] = Counter()
    best: tuple[int, int] | None = None
    end = 0
    for start, first in enumerate(ordered):
        if _order(first) > _order(centre):
            break
        until = bisect_right(times, first.at + limits.window)
        nodes.update(one.node for one in ordered[end:until])
        end = until
        enough = end - start >= limits.reports and len(+nodes) >= limits.nodes
        if enough and centre.at <= times[end - 1] and (best is None or end - start > best[1] - best[0]):
            best = start, end
        nodes[first.node] -= 1
    return None if best is None else _cluster(centre, tuple(ordered[best[0] : best[1]]))


def _order(one: Sighting) -> tuple[datetime, UUID]:
    return one.at, one.id


def _cluster(centre: Sighting, members: tuple[Sighting, ...]) -> Cluster:
    nodes = len({one.node for one in members})
    hours = (members[-1].at - members[0].at).total_seconds() / 3600
    metres = max(
        (
            distance_m(centre.lat, centre.lon, one.lat, one.lon)
            for one in members
            if centre.lat is not None and centre.lon is not None and one.lat is not None and one.lon is not None
        ),
        default=0.0,
    )
    return Cluster(
        members,
        nodes,
        f"{len(members)} reports of {nodes} {'node' if nodes == 1 else 'nodes'} within {metres / 1000:.1f} km and "
        f"{hours:.1f} hours",
        f"{nodes} 个单位的 {len(members)} 份报告，相距 {metres / 1000:.1f} 公里、{hours:.1f} 小时之内",
    )


class Grid:
    """Sightings by what they can be found by, so that each looks at few others."""

    def __init__(self, sightings: Iterable[Sighting] = ()) -> None:
        self._by_key: dict[str, dict[UUID, Sighting]] = defaultdict(dict)
        self._nodes: dict[str, set[str]] = defaultdict(set)
        for sighting in sightings:
            self.add(sighting)

    def add(self, sighting: Sighting) -> None:
        """One sighting more."""
        keys = [_of_node(sighting.node)]
        if sighting.lat is not None and sighting.lon is not None:
            keys.append(near_key("", sighting.lat, sighting.lon))
        else:
            keys.append(_nowhere(sighting.node))
        for key in keys:
            self._by_key[key][sighting.id] = sighting
            self._nodes[key].add(sighting.node)

    def around(self, sighting: Sighting, limits: Limits) -> Cluster | None:
        """The cluster around it among all that were added."""
        keys = self._keys(sighting)
        # One office may report by the thousand: that alone is looked at no closer.
        if len({sighting.node}.union(*(self._nodes[key] for key in keys))) < limits.nodes:
            return None
        return around(sighting, self._at(keys), limits)

    def any_linked(self, sighting: Sighting, limits: Limits) -> bool:
        """Whether any that was added is linked to it."""
        return any(linked(sighting, other, limits) for other in self._at(self._keys(sighting)))

    def forget(self, before: datetime) -> None:
        """Drop what was seen before then."""
        kept = [one for sightings in self._by_key.values() for one in sightings.values() if one.at >= before]
        self._by_key.clear()
        self._nodes.clear()
        for sighting in kept:
            self.add(sighting)

    def _keys(self, sighting: Sighting) -> list[str]:
        # Of its own node a report with a place looks for those without one, the others by theirs.
        if sighting.lat is None or sighting.lon is None:
            keys = [_of_node(sighting.node)]
        else:
            keys = [_nowhere(sighting.node), *near_keys("", sighting.lat, sighting.lon)]
        return [key for key in keys if key in self._by_key]

    def _at(self, keys: list[str]) -> Iterator[Sighting]:
        return (other for key in keys for other in self._by_key[key].values())


def _of_node(node: str) -> str:
    return f"node {node}"


def _nowhere(node: str) -> str:
    return f"nowhere {node}"
