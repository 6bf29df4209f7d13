"""Which open incident a report belongs to: pure, from plain values, always with its reason."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

EARTH_M = 6_371_000.0

# One cell is 3.3 km from north to south, and more than 2 km from east to west up to 53 degrees:
# whatever lies within MAX_RADIUS_M is in the same cell or one of its eight neighbours.
CELL_DEGREES = 0.03
CELLS_PER_ROW = 12_000
MAX_RADIUS_M = 2000


@dataclass(frozen=True, slots=True)
class Seen:
    """What a report says of where and when."""

    node_code: str
    town_code: str | None
    hazard: str
    observed_at: datetime
    lat: float | None
    lon: float | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An open incident, as far as matching looks at it."""

    id: UUID
    node_code: str
    town_code: str | None
    hazard: str
    last_observed_at: datetime
    lat: float | None
    lon: float | None


@dataclass(frozen=True, slots=True)
class Limits:
    """How far apart in time and place reports of one incident may be."""

    window: timedelta
    radius_m: float
    radius_window: timedelta


@dataclass(frozen=True, slots=True)
class Match:
    """The incident found, and why."""

    incident_id: UUID
    rule: str
    text: str
    text_zh: str


def here_key(hazard: str, node_code: str) -> str:
    """What a node's reports of a hazard are looked up by."""
    return f"{hazard}@{node_code}"


def near_key(hazard: str, lat: float, lon: float) -> str:
    """What reports of a hazard close by are looked up by: its grid cell."""
    return f"{hazard}@{_cell(lat, lon)}"


def near_keys(hazard: str, lat: float, lon: float) -> list[str]:
    """The keys of a place's own cell and of the eight around it."""
    centre = _cell(lat, lon)
    return [f"{hazard}@{centre + row * CELLS_PER_ROW + column}" for row in (-1, 0, 1) for column in (-1, 0, 1)]


def _cell(lat: float, lon: float) -> int:
    return math.floor((lat + 90) / CELL_DEGREES) * CELLS_PER_ROW + math.floor((lon + 180) / CELL_DEGREES)


class Index:
    """Candidates by what they can be found by, so that each report looks at few of them."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._by_key: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in candidates:
            self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        """One candidate more."""
        self._by_key[here_key(candidate.hazard, candidate.node_code)].append(candidate)
        if candidate.lat is not None and candidate.lon is not None:
            self._by_key[near_key(candidate.hazard, candidate.lat, candidate.lon)].append(candidate)

    def around(self, seen: Seen) -> list[Candidate]:
        """The candidates that this report may belong to; some may come twice."""
        keys = [here_key(seen.hazard, seen.node_code)]
        if seen.lat is not None and seen.lon is not None:
            keys += near_keys(seen.hazard, seen.lat, seen.lon)
        return [candidate for key in keys for candidate in self._by_key.get(key, ())]


def distance_m(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Great-circle distance in metres (haversine)."""
    north, other_north = math.radians(lat), math.radians(other_lat)
    half_chord = (
        math.sin((other_north - north) / 2) ** 2
        + math.cos(north) * math.cos(other_north) * math.sin(math.radians(other_lon - lon) / 2) ** 2
    )
    return 2 * EARTH_M * math.asin(math.sqrt(min(1.0, half_chord)))


def match(seen: Seen, candidates: Iterable[Candidate], limits: Limits) -> Match | None:
    """The incident this report belongs to: the node's own of that hazard first, else the nearest close by."""
    nearest: tuple[float, Candidate] | None = None
    own: Candidate | None = None
    for candidate in candidates:
        if candidate.hazard != seen.hazard:
            continue
        apart = abs(candidate.last_observed_at - seen.observed_at)
        if candidate.node_code == seen.node_code and apart <= limits.window:
            if own is None or (candidate.last_observed_at, candidate.id) > (own.last_observed_at, own.id):
                own = candidate
        elif (
            candidate.town_code == seen.town_code
            and apart <= limits.radius_window
            and candidate.lat is not None
            and candidate.lon is not None
            and seen.lat is not None
            and seen.lon is not None
        ):
            metres = distance_m(seen.lat, seen.lon, candidate.lat, candidate.lon)
            if metres <= limits.radius_m and (nearest is None or (metres, candidate.id) < (nearest[0], nearest[1].id)):
                nearest = metres, candidate
    if own is not None:
        return Match(
            own.id, "match.same_node", "The same office reported this hazard before.", "同一单位此前已报告该灾种。"
        )
    if nearest is not None:
        metres, found = nearest
        return Match(
            found.id,
            "match.nearby",
            f"An open incident of this hazard is {metres:.0f} m away.",
            f"距离 {metres:.0f} 米处有同类未结事件。",
        )
    return None
