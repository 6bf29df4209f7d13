"""Which incidents may be one, by their reports, always with the reason in words. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from app.hazards.catalogue import HAZARDS
from app.incidents.matching import SAME_NODE, SIMILAR, Candidate, Fit, Index, Limits, Seen, fits

HEADLINE = 140
# More than the largest radius, 2 km, from south to north.
FAR = 0.02
Pair = tuple[UUID, UUID]


@dataclass(frozen=True, slots=True)
class Told:
    """A report, and the incident that it is in."""

    incident_id: UUID
    seen: Seen


@dataclass(frozen=True, slots=True)
class Likely:
    """Two incidents that may be one, how far apart their nearest reports are, and why."""

    pair: Pair
    metres: float | None
    text: str
    text_zh: str


def ordered(one: UUID, other: UUID) -> Pair:
    """The two, the lesser id first: as they are stored."""
    return (one, other) if one < other else (other, one)


def likely(new: Iterable[Told], around: Sequence[Told], limits: Limits) -> list[Likely]:
    """The pairs of incidents of which a report of the one fits a report of the other, once each, by the best fit.

    Neither the order of the reports nor which of the two is `new` makes a difference.
    """
    known = Index(_candidate(one, number) for number, one in enumerate(around))
    best: dict[Pair, tuple[tuple[object, ...], Told, Told, Fit]] = {}
    for one in new:
        mine = _candidate(one, 0)
        for candidate in known.around(one.seen):
            other = around[candidate.id.int]
            if other.incident_id == one.incident_id or _is_far(one.seen, other.seen):
                continue
            pair = ordered(one.incident_id, other.incident_id)
            before = best.get(pair)
            is_same = one.seen.hazard == other.seen.hazard
            # The same hazard says more than words: those need not be compared.
            if before is not None and not is_same and before[3].rule != SIMILAR:
                continue
            fit = fits(one.seen, candidate, limits)
            if not is_same:
                # A report's description is compared with the other's summary: either may be the longer one.
                back = fits(other.seen, mine, limits)
                fit = max((found for found in (fit, back) if found), key=lambda found: found.alike or 0, default=None)
            if fit is None:
                continue
            towns = sorted(f"{found.seen.hazard} {found.seen.town_code}" for found in (one, other))
            rank = (fit.rule == SIMILAR, fit.rule != SAME_NODE, fit.metres or 0, -(fit.alike or 0), towns)
            if before is None or rank < before[0]:
                best[pair] = rank, one, other, fit
    return [_said(*best[pair][1:]) for pair in sorted(best)]


def _is_far(one: Seen, other: Seen) -> bool:
    """Whether two offices' reports are too far apart, which costs less to see than how far."""
    if one.node_code == other.node_code or one.lat is None or other.lat is None:
        return False
    return abs(one.lat - other.lat) > FAR


def _candidate(one: Told, number: int) -> Candidate:
    """The report as if it were an incident of its own; its id is its number among the reports."""
    said = one.seen
    return Candidate(
        UUID(int=number),
        said.node_code,
        said.town_code,
        said.hazard,
        said.observed_at,
        said.observed_at,
        said.lat,
        said.lon,
        said.summary[:HEADLINE],
        frozenset({said.town_code}),
    )


def _said(one: Told, other: Told, fit: Fit) -> Likely:
    pair = ordered(one.incident_id, other.incident_id)
    apart = one.seen.town_code != other.seen.town_code
    if fit.rule == SAME_NODE:
        return Likely(
            pair,
            fit.metres,
            "One office reported this hazard in both.",
            "同一单位在两起事件中都报告了该灾种。",
        )
    if fit.metres is None:
        where, where_zh = "of the same office", "同一单位的报告"
    else:
        towns, towns_zh = (" in two towns", "分属两镇、") if apart else ("", "")
        if None in (one.seen.town_code, other.seen.town_code) and apart:
            towns, towns_zh = ", one of them the city's own", "其中一份为市级、"
        where, where_zh = f"{fit.metres:.0f} m apart{towns}", f"{towns_zh}相距 {fit.metres:.0f} 米的报告"
    if fit.rule != SIMILAR:
        return Likely(pair, fit.metres, f"Reports of the same hazard are {where}.", f"{where_zh}为同一灾种。")
    first, second = sorted((one.seen.hazard, other.seen.hazard))
    return Likely(
        pair,
        fit.metres,
        f"Reports {where} are told in similar words ({fit.alike:.0%}), as {HAZARDS[first].en} and {HAZARDS[second].en}:"
        " the same family.",
        f"{where_zh}文字相似（{fit.alike:.0%}），类型为{HAZARDS[first].zh}和{HAZARDS[second].zh}，属同一类别。",
    )
