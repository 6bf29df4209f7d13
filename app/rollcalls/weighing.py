"""How much a node's silence weighs: pure. Silence counts most next to a hazard."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.hazards.cap import Level
from app.hazards.silence import SilencePolicy
from app.incidents.matching import distance_m


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
    """The weight of one node's silence: roll calls missed in a row, and the gravest danger beside it.

    A node never heard from weighs what it weighs and is no alert: that it uses Beacon at all is not known.
    """
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
    if quiet.heard_at is None:
        reasons.append(
            {
                "rule": "silence.never_heard",
                "text": "It has never been heard from: no alert.",
                "text_zh": "从未收到该单位消息，不触发警报。",
            }
        )
        return Weight(points, None, tuple(reasons))
    return Weight(points, policy.level(points), tuple(reasons))


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


def together(policy: SilencePolicy, silent: Sequence[tuple[str | None, Level]]) -> set[str]:
    """The towns of which so many nodes are silent at once that they are one alert; a pair (town, level) a node."""
    count: dict[str, int] = {}
    for town, _ in silent:
        if town is not None:
            count[town] = count.get(town, 0) + 1
    return {town for town, number in count.items() if number >= policy.together_at_least}
