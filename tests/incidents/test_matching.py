"""Which open incident a report belongs to: by table, and whatever comes."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.geo import distance_m
from app.hazards import catalogue
from app.incidents import matching
from app.incidents.matching import (
    Candidate,
    Index,
    Limits,
    Seen,
    here_key,
    match,
    near_key,
    similarity,
)
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, VILLAGE

LIMITS = Limits(timedelta(hours=24), 2000, timedelta(hours=6), 0.5)
LAT, LON = 36.9, 118.9
METRE = 1 / 111_195  # degrees, from south to north

WORDS = "【演练】老桥西侧堤脚塌了一段，水从缺口往菜地里灌，正在装沙袋"
# Half of the words are others.
LIKE = "【演练】老桥西侧堤脚塌了一段，水往大棚里灌，请求支援"
OTHER = "【演练】小学门前积水过膝，两辆车熄火，正在抽排"


def seen(
    node: str = VILLAGE,
    town: str | None = TOWN,
    hazard: str = "flood.river",
    *,
    hours: float = 0,
    north_m: float | None = 0,
    summary: str = WORDS,
    description: str = "",
) -> Seen:
    lat, lon = (None, None) if north_m is None else (LAT + north_m * METRE, LON)
    return Seen(node, town, hazard, NOON + timedelta(hours=hours), lat, lon, summary, description)


def incident(
    number: int = 1,
    node: str = NEIGHBOUR,
    town: str | None = TOWN,
    hazard: str = "flood.river",
    *,
    hours: float = 0,
    north_m: float | None = 0,
    headline: str = WORDS,
    also: Sequence[str | None] = (),
    since: float | None = None,
) -> Candidate:
    lat, lon = (None, None) if north_m is None else (LAT + north_m * METRE, LON)
    towns = frozenset({town, *also})
    last = NOON + timedelta(hours=hours)
    first = last if since is None else NOON + timedelta(hours=since)
    return Candidate(UUID(int=number), node, town, hazard, first, last, lat, lon, headline, towns)


EMBANKMENT = "flood.embankment"
RULES = [
    ("its own node's, without a place", seen(north_m=None), incident(node=VILLAGE, north_m=None), "match.same_node"),
    ("its own node's after 24 hours", seen(), incident(node=VILLAGE, hours=-24, north_m=5000), "match.same_node"),
    ("its own node's after more", seen(), incident(node=VILLAGE, hours=-24.1), None),
    ("close by", seen(), incident(north_m=1999), "match.nearby"),
    ("close by, in other words", seen(), incident(headline=OTHER), "match.nearby"),
    ("too far", seen(), incident(north_m=2001), None),
    ("long ago, in the course of it", seen(hours=-40), incident(since=-45.9, hours=2), "match.nearby"),
    ("just before it began", seen(hours=-51), incident(since=-46, hours=2), "match.nearby"),
    ("too long before it began", seen(hours=-53), incident(since=-46, hours=2), None),
    ("its own node's, in the course of it", seen(hours=-40), incident(node=VILLAGE, since=-60), "match.same_node"),
    ("too long ago", seen(), incident(hours=-6.1), None),
    ("too much later", seen(), incident(hours=6.1), None),
    ("the next town's alone", seen(), incident(node=FAR_VILLAGE, town=OTHER_TOWN, north_m=0), None),
    ("the next town's and its own", seen(), incident(node=FAR_VILLAGE, town=OTHER_TOWN, also=[TOWN]), "match.nearby"),
    ("the city's alone", seen(), incident(node=CITY, town=None), None),
    ("the city's and its own town's", seen(), incident(node=CITY, town=None, also=[TOWN]), "match.nearby"),
    ("a town's, told by the city", seen(CITY, None), incident(), None),
    ("a town's and the city's, told by the city", seen(CITY, None), incident(also=[None]), "match.nearby"),
    ("the city's own, told by the city", seen(CITY, None), incident(node=CITY, town=None), "match.same_node"),
    ("no place said", seen(north_m=None), incident(), None),
    ("no place known", seen(), incident(north_m=None), None),
    ("another hazard in like words", seen(), incident(hazard=EMBANKMENT, headline=LIKE), "match.similar"),
    ("like words in the next town", seen(), incident(town=OTHER_TOWN, hazard=EMBANKMENT), None),
    (
        "like words in the next town and its own",
        seen(),
        incident(town=OTHER_TOWN, also=[TOWN], hazard=EMBANKMENT),
        "match.similar",
    ),
    ("like words, its own node's", seen(north_m=None), incident(node=VILLAGE, hazard=EMBANKMENT), "match.similar"),
    ("like words, its own from far", seen(), incident(node=VILLAGE, hazard=EMBANKMENT, north_m=2001), None),
    ("like words, no place said", seen(north_m=None), incident(hazard=EMBANKMENT), None),
    ("like words from too far", seen(), incident(hazard=EMBANKMENT, north_m=2001), None),
    ("like words too long ago", seen(), incident(node=VILLAGE, hazard=EMBANKMENT, hours=-6.1), None),
    ("other words", seen(), incident(node=VILLAGE, hazard=EMBANKMENT, headline=OTHER), None),
    ("the same words of another family", seen(), incident(node=VILLAGE, hazard="fire.building"), None),
    ("a hazard of no catalogue", seen(), incident(node=VILLAGE, hazard="flood.gone"), None),
]


@pytest.mark.parametrize(("one", "other", "rule"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_a_rule_finds_the_incident_or_none_does(one: Seen, other: Candidate, rule: str | None) -> None:
    found = match(one, [other], LIMITS)

    assert (found.rule if found else None) == rule
    # Nothing that the rules take lies outside what is looked up.
    assert rule is None or other in Index([other]).around(one)


def test_the_reason_names_the_neighbouring_town() -> None:
    def said(town: str | None, hazard: str) -> tuple[str, str]:
        found = match(seen(), [incident(town=town, also=[TOWN], hazard=hazard, north_m=480)], LIMITS)
        assert found is not None
        return found.text, found.text_zh

    assert said(TOWN, "flood.river") == (
        "An open incident of this hazard is 480 m away.",
        "距离 480 米处有同类未结事件。",
    )
    assert said(OTHER_TOWN, "flood.river") == (
        "An open incident of this hazard is 480 m away, in the neighbouring town.",
        "在邻镇，距离 480 米处有同类未结事件。",
    )
    assert said(OTHER_TOWN, EMBANKMENT) == (
        "An open incident 480 m away, in the neighbouring town, is told in similar words (100%), "
        "as embankment failure: the same family.",
        "在邻镇，距离 480 米处有文字相似（100%）的未结事件，类型为堤防险情，属同一类别。",
    )
    # The city's own report is of no town, and so not of the next.
    assert "邻镇" not in said(None, "flood.river")[1]


PREFERRED = [
    ("the node's own before the nearest", incident(1, VILLAGE, north_m=1900), incident(2)),
    ("the node's own last seen", incident(2, VILLAGE, hours=-1), incident(1, VILLAGE, hours=-2)),
    ("the nearest", incident(2, north_m=100), incident(1, north_m=200)),
    (
        "the nearest, begun in the next town",
        incident(2, town=OTHER_TOWN, also=[TOWN], north_m=100),
        incident(1, north_m=200),
    ),
    ("of two as near the one opened first", incident(1), incident(2)),
    ("the same hazard before the same words", incident(2, headline=OTHER), incident(1, VILLAGE, hazard=EMBANKMENT)),
    (
        "the more similar words",
        incident(2, hazard=EMBANKMENT, north_m=1900),
        incident(1, VILLAGE, hazard=EMBANKMENT, headline=LIKE),
    ),
    ("of two as similar the one opened first", incident(1, hazard=EMBANKMENT), incident(2, hazard="flood.flash")),
]


@pytest.mark.parametrize(("first", "second"), [row[1:] for row in PREFERRED], ids=[row[0] for row in PREFERRED])
def test_of_two_incidents_one_is_preferred_in_either_order(first: Candidate, second: Candidate) -> None:
    for one, other in ((first, second), (second, first)):
        assert match(seen(), [other], LIMITS) is not None
        found = match(seen(), [one, other], LIMITS)
        assert found is not None
        assert found.incident_id == first.id


DIFFERENT = [
    ("short and general words", "flood.river", "河水上涨", EMBANKMENT, "河水上涨"),
    (
        "nothing alike but the hazards' names",
        "weather.rainstorm",
        "暴雨台风，暴雨台风橙色预警，暴雨",
        "weather.typhoon",
        "台风暴雨，台风暴雨橙色预警，台风",
    ),
    (
        "a school and a warehouse",
        "fire.school",
        "东关小学学校火灾，宿舍冒烟",
        "fire.building",
        "粮库建筑火灾，仓房冒烟",
    ),
    ("the mark of the drill alone", "flood.river", "【演练】水位超警", "weather.hail", "【演练】大棚受损"),
    (
        "another event beside it",
        "service.water",
        "主管爆裂，本村全部停水，正在抢修",
        "service.power",
        "变压器烧毁，本村全部停电，正在抢修",
    ),
]


@pytest.mark.parametrize("row", DIFFERENT, ids=[row[0] for row in DIFFERENT])
def test_different_events_are_not_joined_for_their_words(row: tuple[str, ...]) -> None:
    _, hazard, summary, other_hazard, headline = row

    assert (
        match(
            seen(hazard=hazard, summary=summary), [incident(1, VILLAGE, hazard=other_hazard, headline=headline)], LIMITS
        )
        is None
    )


def test_a_long_description_hides_neither_a_like_summary_nor_makes_one() -> None:
    of_other_hazard = incident(hazard=EMBANKMENT)

    assert match(seen(description=OTHER * 5), [of_other_hazard], LIMITS) is not None
    assert match(seen(summary="【演练】险情报告", description=WORDS), [of_other_hazard], LIMITS) is not None
    assert match(seen(summary=OTHER, description=OTHER * 5), [of_other_hazard], LIMITS) is None


def test_figures_are_not_compared() -> None:
    summary = "【演练】老桥西侧堤脚塌了一段，{} 人被困"

    found = match(
        seen(summary=summary.format(3)), [incident(hazard=EMBANKMENT, headline=summary.format("1,200"))], LIMITS
    )

    assert found is not None
    assert "100%" in found.text


SIMILARITIES = [
    ("堤脚塌了", "堤脚塌了", 1),
    ("【演练】堤脚，塌了 3 米！", "堤脚塌了米", 1),
    ("Water over the bridge", "WATER OVER THE BRIDGE!", 1),
    ("", "12，。", 1),
    ("", "堤", 0),
    ("堤脚塌了", "大棚积水", 0),
    ("night", "nacht", 0.25),
    ("堤脚塌了", "堤脚渗水", 1 / 3),
    ("水" * matching.TEXT + "堤脚", "水" * matching.TEXT + "大棚", 1),
]


@pytest.mark.parametrize(("one", "other", "value"), SIMILARITIES)
def test_similarity_is_dices_coefficient_of_pairs_of_letters(one: str, other: str, value: float) -> None:
    assert similarity(one, other) == pytest.approx(value)


TEXTS = st.text(max_size=30) | st.text("河水上涨堤脚塌了桥，1 ", max_size=30)


@given(TEXTS, TEXTS)
def test_similarity_is_symmetric_and_between_0_and_1(one: str, other: str) -> None:
    assert 0 <= similarity(one, other) == similarity(other, one) <= 1
    assert similarity(one, one) == 1


@given(st.text("河水上涨", min_size=1), st.text("大棚积肥", min_size=1))
def test_texts_without_a_letter_in_common_are_not_similar(one: str, other: str) -> None:
    assert similarity(one, other) == 0


PLACES = st.none() | st.floats(-4000, 4000)
HAZARDS = st.sampled_from(["flood.river", EMBANKMENT, "flood.flash", "fire.building"])
HEADLINES = st.sampled_from([WORDS, LIKE, OTHER])
NODES = st.sampled_from([(VILLAGE, TOWN), (NEIGHBOUR, TOWN), (FAR_VILLAGE, OTHER_TOWN), ("370783000000", None)])
HOURS = st.sampled_from([-30.0, -24, -7, -6, -1, 0, 5, 7])

REPORTS = st.builds(
    lambda node, hazard, hours, north, text: seen(node[0], node[1], hazard, hours=hours, north_m=north, summary=text),
    NODES,
    HAZARDS,
    HOURS,
    PLACES,
    HEADLINES,
)
INCIDENTS = st.lists(
    st.builds(
        lambda number, node, hazard, hours, north, text: incident(
            number, node[0], node[1], hazard, hours=hours, north_m=north, headline=text
        ),
        st.integers(1, 99),
        NODES,
        HAZARDS,
        HOURS,
        PLACES,
        HEADLINES,
    ),
    max_size=8,
    unique_by=lambda one: one.id,
)


@given(REPORTS, INCIDENTS)
def test_a_match_keeps_its_rule_and_says_it_in_both_languages(one: Seen, others: Sequence[Candidate]) -> None:
    found = match(one, others, LIMITS)
    if found is None:
        return

    assert found.text.endswith(".")
    assert found.text_zh.endswith("。")
    of = next(other for other in others if other.id == found.incident_id)
    assert catalogue.HAZARDS[of.hazard].family == catalogue.HAZARDS[one.hazard].family
    apart = abs(of.last_observed_at - one.observed_at)
    metres = None
    if None not in (one.lat, one.lon, of.lat, of.lon):
        metres = distance_m(one.lat, one.lon, of.lat, of.lon)  # type: ignore[arg-type]  # none of them is None
    if found.rule == "match.same_node":
        assert (of.node_code, of.hazard) == (one.node_code, one.hazard)
        assert apart <= LIMITS.window
        return
    assert apart <= LIMITS.radius_window
    assert metres is None or metres <= LIMITS.radius_m
    if found.rule == "match.nearby":
        assert metres is not None
        assert of.hazard == one.hazard
    else:
        assert found.rule == "match.similar"
        assert of.hazard != one.hazard
        assert metres is not None or of.node_code == one.node_code
        assert similarity(one.summary, of.headline) >= LIMITS.similarity


@given(REPORTS, INCIDENTS, st.randoms(use_true_random=False))
def test_the_order_of_the_incidents_does_not_matter(one: Seen, others: list[Candidate], random: object) -> None:
    shuffled = list(others)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's own Random

    assert match(one, shuffled, LIMITS) == match(one, others, LIMITS)


@given(REPORTS, INCIDENTS)
def test_looking_up_by_keys_loses_no_match(one: Seen, others: list[Candidate]) -> None:
    assert match(one, Index(others).around(one), LIMITS) == match(one, others, LIMITS)


@given(
    st.floats(-52, 52),
    st.floats(-170, 170),
    st.floats(-1, 1),
    st.floats(-1, 1),
)
def test_what_lies_within_the_radius_is_in_a_cell_around(lat: float, lon: float, north: float, east: float) -> None:
    other_lat, other_lon = lat + north * 0.02, lon + east * 0.035
    assume(distance_m(lat, lon, other_lat, other_lon) <= matching.MAX_RADIUS_M)

    assert near_key("flood.flash", other_lat, other_lon) in matching.near_keys("flood.river", lat, lon)


def test_an_incident_may_stand_twice_among_the_candidates() -> None:
    twice = [incident(1, headline=OTHER), incident(1)]

    for hazard in ("flood.river", EMBANKMENT):
        found = match(seen(hazard=hazard), twice, LIMITS)
        assert found is not None
        assert found.incident_id == UUID(int=1)


def test_keys_are_the_familys() -> None:
    assert here_key("flood.river", VILLAGE) == here_key("earth.quake", VILLAGE) == f"natural@{VILLAGE}"
    assert near_key("flood.river", LAT, LON) == near_key("earth.quake", LAT, LON) != near_key("fire.school", LAT, LON)
    assert here_key("flood.gone", VILLAGE) == f"flood.gone@{VILLAGE}"
