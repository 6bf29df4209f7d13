"""Which open incident a report belongs to: pure, from plain values, always with its reason."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from operator import add
from uuid import UUID

from app.hazards.catalogue import HAZARDS

EARTH_M = 6_371_000.0

# One cell is 3.3 km from north to south, and more than 2 km from east to west up to 53 degrees:
# whatever lies within MAX_RADIUS_M is in the same cell or one of its eight neighbours.
CELL_DEGREES = 0.03
CELLS_PER_ROW = 12_000
MAX_RADIUS_M = 2000

# Of a text more is not compared.
TEXT = 400
# Fewer pairs of letters in common say too little: "water rising, please help" is written of every flood.
LEAST_SHARED = 10
DRILL_MARK = "【演练】"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a report says of where, when and what."""

    node_code: str
    town_code: str | None
    hazard: str
    observed_at: datetime
    lat: float | None
    lon: float | None
    summary: str
    description: str


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
    headline: str


@dataclass(frozen=True, slots=True)
class Limits:
    """How far apart in time, place and words reports of one incident may be."""

    window: timedelta
    radius_m: float
    radius_window: timedelta
    similarity: float


@dataclass(frozen=True, slots=True)
class Match:
    """The incident found, and why."""

    incident_id: UUID
    rule: str
    text: str
    text_zh: str


def here_key(hazard: str, node_code: str) -> str:
    """What a node's reports of the hazard's family are looked up by."""
    return f"{_family(hazard)}@{node_code}"


def near_key(hazard: str, lat: float, lon: float) -> str:
    """What reports of the hazard's family close by are looked up by: its grid cell."""
    return f"{_family(hazard)}@{_cell(lat, lon)}"


def near_keys(hazard: str, lat: float, lon: float) -> list[str]:
    """The keys of a place's own cell and of the eight around it."""
    family, centre = _family(hazard), _cell(lat, lon)
    return [f"{family}@{centre + row * CELLS_PER_ROW + column}" for row in (-1, 0, 1) for column in (-1, 0, 1)]


def _family(hazard: str) -> str:
    # What the catalogue no longer knows is a family of its own.
    known = HAZARDS.get(hazard)
    return known.family if known else hazard


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


def similarity(one: str, other: str) -> float:
    """Dice's coefficient of two texts: 1 when they say the same, 0 when no two letters stand together in both.

    What is compared are the sets of pairs of neighbouring letters (Dice 1945, Sorensen 1948); spaces, punctuation,
    digits and the mark of a drill are left out before.
    """
    if _letters(one) == _letters(other):
        return 1.0
    return _dice(_pairs(one), _pairs(other))


def match(seen: Seen, candidates: Iterable[Candidate], limits: Limits) -> Match | None:
    """The incident this report belongs to, and why; None: it is a new one.

    The node's own of that hazard first, else the nearest of that hazard close by, in whichever town, else the one of
    another hazard of the family, at the node or close by, that is told in the most similar words. When in doubt it is
    none: two incidents can be merged, what was put together wrongly misleads until somebody notices.
    """
    own: Candidate | None = None
    nearest: tuple[float, UUID, Candidate] | None = None
    others = []
    for candidate in candidates:
        if candidate.hazard != seen.hazard:
            others.append(candidate)
            continue
        apart = abs(candidate.last_observed_at - seen.observed_at)
        if candidate.node_code == seen.node_code and apart <= limits.window:
            if own is None or (candidate.last_observed_at, candidate.id) > (own.last_observed_at, own.id):
                own = candidate
        elif apart <= limits.radius_window:
            metres = _metres(seen, candidate)
            if metres is not None and metres <= limits.radius_m:
                found = metres, candidate.id, candidate
                # One incident may stand here twice, with the place of another that became part of it.
                nearest = found if nearest is None else min(nearest, found, key=lambda one: one[:2])
    if own is not None:
        return Match(
            own.id, "match.same_node", "The same office reported this hazard before.", "同一单位此前已报告该灾种。"
        )
    if nearest is not None:
        return _nearby(seen, nearest[2], nearest[0])
    return _similar(seen, others, limits)


def _nearby(seen: Seen, found: Candidate, metres: float) -> Match:
    next_town = _in_next_town(seen, found)
    return Match(
        found.id,
        "match.nearby",
        f"An open incident of this hazard is {metres:.0f} m away{', in the neighbouring town' if next_town else ''}.",
        f"{'在邻镇，' if next_town else ''}距离 {metres:.0f} 米处有同类未结事件。",
    )


def _similar(seen: Seen, others: Iterable[Candidate], limits: Limits) -> Match | None:
    family = _family(seen.hazard)
    # A headline is a summary: with a long description the two could not be alike, so the summary alone may be as well.
    texts = [seen.summary, f"{seen.summary} {seen.description}"] if seen.description else [seen.summary]
    best: tuple[float, UUID, Candidate, float | None] | None = None
    for candidate in others:
        if _family(candidate.hazard) != family or candidate.hazard == seen.hazard:
            continue
        if abs(candidate.last_observed_at - seen.observed_at) > limits.radius_window:
            continue
        # An office may report from far apart: where both places are known, they decide.
        metres = _metres(seen, candidate)
        if metres is None and candidate.node_code != seen.node_code:
            continue
        if metres is not None and metres > limits.radius_m:
            continue
        hazards = seen.hazard, candidate.hazard
        alike = max(_alike(text, candidate.headline, hazards, limits.similarity) for text in texts)
        if alike >= limits.similarity and (best is None or (-alike, candidate.id) < best[:2]):
            best = -alike, candidate.id, candidate, metres
    if best is None:
        return None
    found, alike, metres = best[2], -best[0], best[3]
    if metres is None:
        where, where_zh = "of the same office", "同一单位"
    elif _in_next_town(seen, found):
        where, where_zh = f"{metres:.0f} m away, in the neighbouring town,", f"在邻镇，距离 {metres:.0f} 米处"
    else:
        where, where_zh = f"{metres:.0f} m away", f"距离 {metres:.0f} 米处"
    known = HAZARDS[found.hazard]
    return Match(
        found.id,
        "match.similar",
        f"An open incident {where} is told in similar words ({alike:.0%}), as {known.en}: the same family.",
        f"{where_zh}有文字相似（{alike:.0%}）的未结事件，类型为{known.zh}，属同一类别。",
    )


def _in_next_town(seen: Seen, found: Candidate) -> bool:
    # What the city itself reports is in no town.
    return seen.town_code is not None and found.town_code is not None and seen.town_code != found.town_code


def _metres(seen: Seen, candidate: Candidate) -> float | None:
    """How far apart; None: one of the two has no place."""
    if seen.lat is None or seen.lon is None or candidate.lat is None or candidate.lon is None:
        return None
    return distance_m(seen.lat, seen.lon, candidate.lat, candidate.lon)


def _alike(text: str, headline: str, hazards: tuple[str, str], least: float) -> float:
    """How similar the words are, also without the hazards' own; 0 when below `least` or too few are shared."""
    alike = _dice(_pairs(text), _pairs(headline))
    if alike < least:
        return 0.0
    words = _own_words(*hazards)
    pairs, others = _pairs(text, words), _pairs(headline, words)
    if len(pairs & others) < LEAST_SHARED:
        return 0.0
    alike = min(alike, _dice(pairs, others))
    return alike if alike >= least else 0.0


def _dice(pairs: frozenset[str], others: frozenset[str]) -> float:
    both = len(pairs) + len(others)
    return 2 * len(pairs & others) / both if both else 0.0


# The same headlines are compared again and again while a night lasts.
@lru_cache(maxsize=4096)
def _pairs(text: str, left_out: re.Pattern[str] | None = None) -> frozenset[str]:
    letters = _letters(text)
    runs = left_out.split(letters) if left_out else [letters]
    return frozenset(pair for run in runs for pair in map(add, run, run[1:]))


def _letters(text: str) -> str:
    return "".join(filter(str.isalpha, text[:TEXT].replace(DRILL_MARK, "").casefold()))


@lru_cache(maxsize=4096)
def _own_words(hazard: str, other: str) -> re.Pattern[str]:
    """What finds the words that two hazards are called by, parts of the Chinese included: 河道, 洪水, river, flood."""
    words: set[str] = set()
    for known in (HAZARDS[hazard], HAZARDS[other]):
        words |= {known.zh[at : at + 2] for at in range(len(known.zh) - 1)} | set(known.en.casefold().split())
    return re.compile("|".join(sorted(words, key=lambda word: (-len(word), word))))
