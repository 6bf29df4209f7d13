"""How much a node's silence weighs: pure. Silence counts most next to a hazard."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.core.geo import distance_m
from app.hazards.cap import Level
from app.hazards.silence import SilencePolicy

# A little less than it is, so that no cell is too small.
METRES_PER_DEGREE = 111_000.0


@dataclass(frozen=True, slots=True)
class Quiet:
    """A node that has not answered. `heard_at`: when it was last heard from; None: never."""

    node_code: str
    town_code: str | None
    lat: float | None
    lon: float | None
    missed: int
    heard_at: datetime | None


@dataclass(frozen=True, slots=True)
class Danger:
    """An open hazard, or a warned place, with its level."""

    level: Level
    town_code: str | None
    lat: float | None
    lon: float | None
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Weight:
    """What the silence weighs, the level of its alert (None: none), and why."""

    points: int
    level: Level | None
    reasons: tuple[dict[str, str], ...]


def weigh(policy: SilencePolicy, quiet: Quiet, dangers: Iterable[Danger]) -> Weight:
    """The weight of one node's silence: roll calls missed in a row, and the gravest danger beside it."""
    missed = min(quiet.missed, policy.most_missed)
    points = missed * policy.missed
    reasons = [
        {
            "rule": "silence.missed",
            "text": f"{quiet.missed} roll call(s) missed in a row: {points}",
            "text_zh": f"连续 {quiet.missed} 次点名未应答：{points}",
        }
    ]
    beside = _gravest(policy, quiet, dangers)
    if beside is not None:
        danger, metres = beside
        more = policy.near.get(danger.level, 0)
        points += more
        where = f"{metres:.0f} m away" if metres is not None else "in the same town"
        where_zh = f"距 {metres:.0f} 米" if metres is not None else "同一乡镇"
        reasons.append(
            {
                "rule": "silence.near",
                "text": f"{danger.en} ({danger.level.en}) {where}: {more}",
                "text_zh": f"{where_zh}有{danger.zh}（{danger.level.zh}）：{more}",
            }
        )
    level = policy.level(points)
    if quiet.heard_at is None:
        never, never_zh = "It has never been heard from.", "从未收到该单位消息。"
        if not policy.alert_never_heard:
            # Whether it uses Beacon at all is not known.
            never, never_zh, level = f"{never[:-1]}: no alert.", f"{never_zh[:-1]}，不触发警报。", None
        reasons.append({"rule": "silence.never_heard", "text": never, "text_zh": never_zh})
    return Weight(points, level, tuple(reasons))


@dataclass(frozen=True, slots=True)
class Around:
    """Dangers by what they can be found by, so that each node looks at few of many."""

    by_town: Mapping[str, Sequence[Danger]]
    by_cell: Mapping[tuple[int, int], Sequence[Danger]]
    near_m: float

    def beside(self, quiet: Quiet) -> list[Danger]:
        """All that may lie beside a node, and some that do not; some may come twice."""
        found = list(self.by_town.get(quiet.town_code, ())) if quiet.town_code is not None else []
        if quiet.lat is not None and quiet.lon is not None:
            north, east = _cell(quiet.lat, quiet.lon, self.near_m)
            for row in (north - 1, north, north + 1):
                for column in (east - 1, east, east + 1):
                    found += self.by_cell.get((row, column), ())
        return found


def arrange(dangers: Iterable[Danger], near_m: float) -> Around:
    """The dangers of a city, to be asked for those beside a node."""
    by_town: dict[str, list[Danger]] = defaultdict(list)
    by_cell: dict[tuple[int, int], list[Danger]] = defaultdict(list)
    for danger in dangers:
        if danger.town_code is not None:
            by_town[danger.town_code].append(danger)
        if danger.lat is not None and danger.lon is not None:
            by_cell[_cell(danger.lat, danger.lon, near_m)].append(danger)
    return Around(by_town, by_cell, near_m)


def _cell(lat: float, lon: float, near_m: float) -> tuple[int, int]:
    # At least near_m from north to south, and from east to west up to 60 degrees: what lies within near_m is in the
    # same cell or in one of its eight neighbours.
    degrees = max(near_m, 1.0) / METRES_PER_DEGREE
    return math.floor(lat / degrees), math.floor(lon / (2 * degrees))


def _gravest(policy: SilencePolicy, quiet: Quiet, dangers: Iterable[Danger]) -> tuple[Danger, float | None] | None:
    """The danger that weighs most, of those equal the nearest; metres None: the same town, how far is not known."""
    found: list[tuple[int, float, Danger, float | None]] = []
    for danger in dangers:
        metres = _metres(quiet, danger)
        same_town = quiet.town_code is not None and quiet.town_code == danger.town_code
        if same_town or (metres is not None and metres <= policy.near_m):
            weight = policy.near.get(danger.level, 0)
            if weight:
                found.append((-weight, metres if metres is not None else float("inf"), danger, metres))
    if not found:
        return None
    _, _, danger, metres = min(found, key=lambda one: one[:2])
    return danger, metres


def _metres(quiet: Quiet, danger: Danger) -> float | None:
    if quiet.lat is None or quiet.lon is None or danger.lat is None or danger.lon is None:
        return None
    return distance_m(quiet.lat, quiet.lon, danger.lat, danger.lon)


def together(policy: SilencePolicy, towns: Iterable[str | None]) -> set[str]:
    """The towns, one a silent node, of which so many are silent that they are one alert."""
    count = Counter(town for town in towns if town is not None)
    return {town for town, number in count.items() if number >= policy.together_at_least}
