"""Which open incident a report belongs to, from plain values, always with its reason. Pure."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from operator import add
from uuid import UUID

from app.core.geo import distance_m
from app.hazards.catalogue import HAZARDS
from app.hazards.policy import IncidentsPolicy

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

SAME_NODE, NEARBY, SIMILAR = "match.same_node", "match.nearby", "match.similar"


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
    """An open incident, as far as matching looks at it; `towns` are those that reported it, None for the city."""

    id: UUID
    node_code: str
    town_code: str | None
    hazard: str
    first_observed_at: datetime
    last_observed_at: datetime
    lat: float | None
    lon: float | None
    headline: str
    towns: frozenset[str | None]


@dataclass(frozen=True, slots=True)
class Fit:
    """That a report may tell of what an incident is about: by which rule, how far apart, how alike in words."""

    rule: str
    metres: float | None
    alike: float | None = None


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


def limits_of(policy: IncidentsPolicy) -> Limits:
    """The limits that a policy sets."""
    return Limits(
        window=timedelta(hours=policy.match_window_hours),
        radius_m=policy.match_radius_m,
        radius_window=timedelta(hours=policy.match_radius_hours),
        similarity=policy.match_similarity,
    )


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
        self._keys: dict[UUID, set[str]] = defaultdict(set)
        for candidate in candidates:
            self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        """One candidate more."""
        keys = [here_key(candidate.hazard, candidate.node_code)]
        if candidate.lat is not None and candidate.lon is not None:
            keys.append(near_key(candidate.hazard, candidate.lat, candidate.lon))
        self._keys[candidate.id].update(keys)
        for key in keys:
            self._by_key[key].append(candidate)

    def joined(self, incident_id: UUID, town_code: str | None, at: datetime) -> None:
        """The incident has a report of this town, observed then, from here on."""
        for key in self._keys.get(incident_id, ()):
            self._by_key[key] = [
                _with(one, town_code, at) if one.id == incident_id else one for one in self._by_key[key]
            ]

    def around(self, seen: Seen) -> list[Candidate]:
        """The candidates that this report may belong to; some may come twice."""
        keys = [here_key(seen.hazard, seen.node_code)]
        if seen.lat is not None and seen.lon is not None:
            keys += near_keys(seen.hazard, seen.lat, seen.lon)
        return [candidate for key in keys for candidate in self._by_key.get(key, ())]


def _with(candidate: Candidate, town_code: str | None, at: datetime) -> Candidate:
    return replace(
        candidate,
        towns=candidate.towns | {town_code},
        first_observed_at=min(candidate.first_observed_at, at),
        last_observed_at=max(candidate.last_observed_at, at),
    )


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

    Only one that the report's own town has reported; the city's own reports only join what the city has reported.
    The node's own of that hazard first, else the nearest of that hazard close by, else the one of another hazard of
    the family, at the node or close by, that is told in the most similar words. When in doubt it is none: two
    incidents can be merged, what was put together wrongly misleads until somebody notices.
    """
    same: list[tuple[Candidate, Fit]] = []
    others = []
    for candidate in candidates:
        if seen.town_code not in candidate.towns:
            continue
        if candidate.hazard != seen.hazard:
            others.append(candidate)
        elif fit := fits(seen, candidate, limits):
            same.append((candidate, fit))
    own = [candidate for candidate, fit in same if fit.rule == SAME_NODE]
    if own:
        latest = max(own, key=lambda one: (one.last_observed_at, one.id))
        return Match(latest.id, SAME_NODE, "The same office reported this hazard before.", "同一单位此前已报告该灾种。")
    if same:
        # One incident may stand here twice, with the place of another that became part of it.
        found, fit = min(same, key=lambda one: (one[1].metres, one[0].id))
        return _nearby(seen, found, fit)
    alike = [(candidate, fit) for candidate in others if (fit := fits(seen, candidate, limits))]
    if not alike:
        return None
    found, fit = min(alike, key=lambda one: (-(one[1].alike or 0), one[0].id))
    return _similar(seen, found, fit)


def fits(seen: Seen, candidate: Candidate, limits: Limits) -> Fit | None:
    """Whether the report may tell of what the incident is about, of whichever town; None: it does not."""
    apart = max(seen.observed_at - candidate.last_observed_at, candidate.first_observed_at - seen.observed_at)
    if candidate.hazard != seen.hazard:
        return _alike_fit(seen, candidate, limits) if apart <= limits.radius_window else None
    metres = _metres(seen, candidate)
    if candidate.node_code == seen.node_code and apart <= limits.window:
        return Fit(SAME_NODE, metres)
    if apart <= limits.radius_window and metres is not None and metres <= limits.radius_m:
        return Fit(NEARBY, metres)
    return None


def _alike_fit(seen: Seen, candidate: Candidate, limits: Limits) -> Fit | None:
    if _family(candidate.hazard) != _family(seen.hazard):
        return None
    # An office may report from far apart: where both places are known, they decide.
    metres = _metres(seen, candidate)
    if metres is None and candidate.node_code != seen.node_code:
        return None
    if metres is not None and metres > limits.radius_m:
        return None
    hazards = seen.hazard, candidate.hazard
    # A headline is a summary: with a long description the two could not be alike, so the summary alone may be as well.
    texts = [seen.summary, f"{seen.summary} {seen.description}"] if seen.description else [seen.summary]
    alike = max(_alike(text, candidate.headline, hazards, limits.similarity) for text in texts)
    return Fit(SIMILAR, metres, alike) if alike >= limits.similarity else None


def _nearby(seen: Seen, found: Candidate, fit: Fit) -> Match:
    next_town = _in_next_town(seen, found)
    return Match(
        found.id,
        NEARBY,
        f"An open incident of this hazard is {fit.metres:.0f} m away"
        f"{', in the neighbouring town' if next_town else ''}.",
        f"{'在邻镇，' if next_town else ''}距离 {fit.metres:.0f} 米处有同类未结事件。",
    )


def _similar(seen: Seen, found: Candidate, fit: Fit) -> Match:
    if fit.metres is None:
        where, where_zh = "of the same office", "同一单位"
    elif _in_next_town(seen, found):
        where, where_zh = f"{fit.metres:.0f} m away, in the neighbouring town,", f"在邻镇，距离 {fit.metres:.0f} 米处"
    else:
        where, where_zh = f"{fit.metres:.0f} m away", f"距离 {fit.metres:.0f} 米处"
    known = HAZARDS[found.hazard]
    return Match(
        found.id,
        SIMILAR,
        f"An open incident {where} is told in similar words ({fit.alike:.0%}), as {known.en}: the same family.",
        f"{where_zh}有文字相似（{fit.alike:.0%}）的未结事件，类型为{known.zh}，属同一类别。",
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
