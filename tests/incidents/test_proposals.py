"""Which incidents may be one: by table, and for every order and parcel of the same reports."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.incidents.matching import Candidate, Index, Limits, Seen, match
from app.incidents.proposals import Likely, Told, likely
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, VILLAGE

LIMITS = Limits(timedelta(hours=24), 2000, timedelta(hours=6), 0.5)
METRE = 1 / 111_195
WORDS = "【演练】老桥西侧堤脚塌了一段，水从缺口往菜地里灌，正在装沙袋"


def told(
    number: int,
    node: str = VILLAGE,
    town: str | None = TOWN,
    hazard: str = "flood.river",
    *,
    hours: float = 0,
    north_m: float | None = 0,
    summary: str = WORDS,
) -> Told:
    lat, lon = (None, None) if north_m is None else (36.9 + north_m * METRE, 118.9)
    at = NOON + timedelta(hours=hours)
    return Told(UUID(int=number), Seen(node, town, hazard, at, lat, lon, summary, ""))


def far(number: int = 2, **changes: object) -> Told:
    return told(number, FAR_VILLAGE, OTHER_TOWN, **changes)  # type: ignore[arg-type]  # as told takes them


RULES = [
    ("the next town's close by", told(1), far(north_m=1999), True),
    ("the next town's further away", told(1), far(north_m=2001), False),
    ("the next town's long before", told(1), far(hours=-6.1), False),
    ("the next town's, no place said", told(1), far(north_m=None), False),
    ("of one incident", told(1), far(1), False),
    ("its own town's close by", told(1), told(2, NEIGHBOUR), True),
    ("its own office's, without a place", told(1, north_m=None), told(2, north_m=None, hours=23), True),
    ("the city's own close by", told(1), told(2, CITY, None), True),
    ("another hazard in the same words", told(1), far(hazard="flood.embankment"), True),
    ("another hazard in other words", told(1), far(hazard="flood.embankment", summary="小学门前积水过膝"), False),
    ("another family in the same words", told(1), far(hazard="fire.building"), False),
]


@pytest.mark.parametrize(("one", "other", "is_likely"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_two_incidents_may_be_one_by_a_rule_or_not(one: Told, other: Told, is_likely: bool) -> None:
    found = likely([one], [one, other], LIMITS)

    assert bool(found) == is_likely
    assert found == likely([other], [other, one], LIMITS) == likely([one, other], [one, other], LIMITS)


def test_the_reason_is_said_in_words_of_the_nearest_reports() -> None:
    around = [far(2, north_m=900), far(2, north_m=480), far(3, hazard="flood.embankment", north_m=100)]
    around += [told(4, CITY, None, north_m=50)]

    found = {one.pair[1].int: one for one in likely([told(1)], around, LIMITS)}

    assert found[2].metres == pytest.approx(480, abs=1)
    assert (found[2].text, found[2].text_zh) == (
        "Reports of the same hazard are 480 m apart in two towns.",
        "分属两镇、相距 480 米的报告为同一灾种。",
    )
    assert found[3].text == (
        "Reports 100 m apart in two towns are told in similar words (100%), as embankment failure and river flood:"
        " the same family."
    )
    assert found[3].text_zh.startswith("分属两镇、相距 100 米的报告文字相似（100%），类型为堤防险情和")
    assert "the city's own" in found[4].text
    assert "市级" in found[4].text_zh


NODES = [(VILLAGE, TOWN), (NEIGHBOUR, TOWN), (FAR_VILLAGE, OTHER_TOWN), (CITY, None)]
REPORTS = st.lists(
    st.builds(
        lambda node, hazard, north, hours: told(0, node[0], node[1], hazard, north_m=north, hours=hours).seen,
        st.sampled_from(NODES),
        st.sampled_from(["flood.river", "fire.building"]),
        st.none() | st.integers(0, 9000),
        st.floats(0, 6),
    ),
    min_size=2,
    max_size=9,
)


@given(REPORTS, st.data())
def test_neither_order_nor_parcel_changes_what_is_joined_or_proposed(reports: list[Seen], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(list(range(len(reports)))))
    runs = data.draw(st.lists(st.integers(1, 4), min_size=len(reports), max_size=len(reports)))

    assert _components(reports, shuffled, runs) == _components(reports, range(len(reports)), [1] * len(reports))


def _components(reports: Sequence[Seen], order: Iterable[int], runs: Iterable[int]) -> set[frozenset[int]]:
    """Which reports are together in the end, when they come in this order and the job looks after these many each."""
    known, incidents = Index([]), set[UUID]()
    into: dict[int, UUID] = {}
    links: list[tuple[UUID, UUID]] = []
    waiting: list[int] = []
    sizes = iter(runs)
    until = next(sizes)
    for number in order:
        one = reports[number]
        found = match(one, known.around(one), LIMITS)
        if found is None:
            new = UUID(int=len(incidents) + 1)
            towns = frozenset({one.town_code})
            incidents.add(new)
            known.add(
                Candidate(
                    new,
                    one.node_code,
                    one.town_code,
                    one.hazard,
                    one.observed_at,
                    one.observed_at,
                    one.lat,
                    one.lon,
                    one.summary,
                    towns,
                )
            )
            into[number] = new
        else:
            into[number] = found.incident_id
            known.joined(found.incident_id, one.town_code, one.observed_at)
        waiting.append(number)
        if len(waiting) >= until:
            links += _proposed(reports, into, waiting)
            waiting, until = [], next(sizes, 1)
    links += _proposed(reports, into, waiting)
    groups = {incident: {number for number, its in into.items() if its == incident} for incident in incidents}
    for one_id, other_id in links:
        together = groups[one_id] | groups[other_id]
        groups |= {incident: together for incident, its in groups.items() if its & together}
    return {frozenset(group) for group in groups.values()}


def _proposed(reports: Sequence[Seen], into: dict[int, UUID], new: Iterable[int]) -> list[tuple[UUID, UUID]]:
    around = [Told(incident, reports[number]) for number, incident in into.items()]
    found: list[Likely] = likely([Told(into[number], reports[number]) for number in new], around, LIMITS)
    return [one.pair for one in found]
