"""How grave a report is: the triad's level, raised by rules, each with its sentence."""

from dataclasses import FrozenInstanceError
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hazards.cap import CERTAINTIES, RISING, SEVERITIES, URGENCIES, Certainty, Level, Severity, Urgency
from app.hazards.catalogue import FAMILIES, HAZARDS
from app.hazards.figures import FIGURES
from app.hazards.policy import Policy, TriagePolicy, load_policy
from app.hazards.rules import Rule
from app.hazards.triage import Decision, Situation, triage

POLICY = load_policy(None)
PLAIN = HAZARDS["weather.wind"]


def situation(hazard: str = "weather.wind", triad: str = "Future Minor Possible", **more: Any) -> Situation:
    urgency, severity, certainty = triad.split()
    rest: dict[str, Any] = {"figures": {}, "kind": "initial", "neighbours": 0} | more
    return Situation(HAZARDS[hazard], Urgency(urgency), Severity(severity), Certainty(certainty), **rest)


def with_rules(*rules: Rule) -> Policy:
    triage_policy = TriagePolicy(
        neighbour_window_hours=2, matrix=POLICY.triage.matrix, certainty=POLICY.triage.certainty, rules=rules
    )
    return POLICY.model_copy(update={"triage": triage_policy})


def rule(**keys: Any) -> Rule:
    return Rule.model_validate({"name": "a", "zh": "词", "en": "words"} | keys)


def names(decision: Decision) -> list[str]:
    return [reason.rule for reason in decision.reasons]


# --- the matrix


@pytest.mark.parametrize(
    ("triad", "level"),
    [
        ("Immediate Extreme Observed", "red"),
        ("Expected Extreme Likely", "red"),
        ("Expected Extreme Possible", "orange"),
        ("Immediate Severe Observed", "orange"),
        ("Immediate Severe Possible", "yellow"),
        ("Immediate Severe Unlikely", "blue"),
        ("Immediate Moderate Observed", "yellow"),
        ("Past Extreme Observed", "yellow"),
        ("Immediate Minor Observed", "blue"),
        ("Future Minor Unlikely", "routine"),
        ("Past Minor Unlikely", "routine"),
        ("Immediate Unknown Unknown", "yellow"),
        ("Unknown Unknown Unknown", "blue"),
    ],
)
def test_the_triad_decides_the_level(triad: str, level: str) -> None:
    decision = triage(POLICY, situation(triad=triad))

    assert decision.level == level
    assert names(decision) == ["triad"]


def test_the_matrix_says_in_both_languages_what_it_looked_at() -> None:
    (reason,) = triage(POLICY, situation(triad="Immediate Severe Observed")).reasons

    assert reason.text == "Immediate, Severe, Observed: orange"
    assert reason.text_zh == "紧急程度立即、严重程度严重、确定性已发生：橙色"


def test_every_triad_has_a_level() -> None:
    decided = {
        triad: triage(POLICY, Situation(PLAIN, *triad, figures={}, kind="initial", neighbours=0)).level
        for triad in product(Urgency, Severity, Certainty)
    }

    assert len(decided) == 125
    assert set(decided.values()) == set(RISING)


def test_the_orders_name_every_value_once() -> None:
    for order, values in ((URGENCIES, Urgency), (SEVERITIES, Severity), (CERTAINTIES, Certainty), (RISING, Level)):
        assert sorted(order) == sorted(values)


def test_levels_rank_from_routine_to_red() -> None:
    assert [level.rank for level in RISING] == [0, 1, 2, 3, 4]
    assert [level.en for level in RISING] == ["routine", "blue", "yellow", "orange", "red"]
    assert [level.zh for level in RISING] == ["一般", "蓝色", "黄色", "橙色", "红色"]


# --- the statutory rules


@pytest.mark.parametrize(
    ("figures", "level", "rules"),
    [
        ({"dead": 10}, "red", ["loss.grave"]),
        ({"dead": 4, "missing": 6}, "red", ["loss.grave"]),
        ({"dead": 4, "missing": 5}, "orange", ["loss.life"]),
        ({"missing": 3}, "orange", ["loss.life"]),
        ({"dead": 1}, "orange", ["loss.life"]),
        ({"dead": 0, "missing": 0, "trapped": 0}, "routine", []),
        ({"trapped": 1}, "orange", ["trapped"]),
        ({"trapped": 30}, "red", ["trapped.many"]),
        ({"injured": 1}, "yellow", ["injured"]),
        ({"injured": 10}, "orange", ["injured.many"]),
        ({"relocated": 499}, "routine", []),
        ({"relocated": 500}, "orange", ["relocated.many"]),
        ({"houses_collapsed": 10}, "orange", ["houses.collapsed"]),
        ({"water_short": 1000}, "yellow", ["water.short"]),
        ({"direct_loss_cny": 1e12, "crop_area_lost_ha": 0.5}, "routine", []),
        ({"injured": 1, "dead": 1, "trapped": 2}, "orange", ["loss.life", "trapped"]),
    ],
)
def test_losses_raise_the_mildest_report(figures: dict[str, float], level: str, rules: list[str]) -> None:
    decision = triage(POLICY, situation(figures=figures))

    assert decision.level == level
    assert names(decision) == ["triad", *rules]


@pytest.mark.parametrize(
    ("hazard", "level"),
    [
        ("dam.breach", "red"),
        ("flood.reservoir", "orange"),
        ("flood.embankment", "orange"),
        ("chemical.spill", "orange"),
        ("work.mine", "orange"),
        ("fire.school", "orange"),
        ("explosion.gas", "orange"),
        ("crush.crowd", "orange"),
        ("ordnance.found", "orange"),
        ("disease.human", "yellow"),
        ("fire.forest", "yellow"),
        ("fire.building", "routine"),
        ("service.wages", "routine"),
    ],
)
def test_some_hazards_have_a_floor(hazard: str, level: str) -> None:
    assert triage(POLICY, situation(hazard)).level == level


@pytest.mark.parametrize(
    ("hazard", "triad", "neighbours", "level"),
    [
        ("flood.river", "Future Minor Possible", 2, "routine"),
        ("flood.river", "Future Minor Possible", 3, "blue"),
        ("flood.river", "Immediate Moderate Observed", 3, "orange"),
        ("flood.river", "Immediate Severe Observed", 9, "orange"),
        ("flood.river", "Immediate Extreme Observed", 9, "red"),
        ("disease.human", "Future Minor Possible", 3, "orange"),
        ("service.water", "Immediate Moderate Observed", 9, "yellow"),
    ],
)
def test_three_neighbours_raise_by_a_step_up_to_orange(hazard: str, triad: str, neighbours: int, level: str) -> None:
    assert triage(POLICY, situation(hazard, triad, neighbours=neighbours)).level == level


def test_a_reason_names_what_was_counted_and_the_level_it_led_to() -> None:
    decision = triage(POLICY, situation("flood.river", figures={"dead": 7, "missing": 5}, neighbours=4))

    assert [reason.text for reason in decision.reasons] == [
        "Future, Minor, Possible: routine",
        "12 dead or missing, 10 or more: direct report: red",
    ]
    assert decision.reasons[1].text_zh == "死亡失踪 12 人，达到 10 人，可越级直报：红色"


def test_a_step_is_told_after_the_floor_it_starts_from() -> None:
    decision = triage(POLICY, situation("fire.forest", neighbours=4))

    assert [reason.text for reason in decision.reasons[1:]] == [
        "forest fire: it may spread: yellow",
        "4 other nodes of the town reported the same family: orange",
    ]


def test_a_rule_that_holds_the_level_is_told() -> None:
    decision = triage(POLICY, situation(triad="Immediate Severe Observed", figures={"dead": 1}))

    assert decision.level == "orange"
    assert names(decision) == ["triad", "loss.life"]


# --- rules a deployment may write


def test_a_rule_may_look_at_the_kind_of_report() -> None:
    policy = with_rules(rule(kind="final", level="blue"))

    assert triage(policy, situation(kind="final")).level == "blue"
    assert triage(policy, situation(kind="followup")).level == "routine"


def test_every_condition_of_a_rule_must_hold() -> None:
    policy = with_rules(rule(hazards=["natural"], figures=["affected"], at_least=5, neighbours_at_least=1, level="red"))
    holding: dict[str, Any] = {"figures": {"affected": 5}, "neighbours": 1}

    assert triage(policy, situation(**holding)).level == "red"
    assert triage(policy, situation("fire.building", **holding)).level == "routine"
    assert triage(policy, situation(**holding | {"neighbours": 0})).level == "routine"
    assert triage(policy, situation(**holding | {"figures": {"affected": 4}})).level == "routine"


def test_steps_add_up_and_stop_at_red() -> None:
    policy = with_rules(rule(name="a", kind="initial", raise_by=2), rule(name="b", kind="initial", raise_by=4))

    decision = triage(policy, situation())

    assert decision.level == "red"
    assert names(decision) == ["triad", "a", "b"]


def test_a_capped_step_never_lowers() -> None:
    policy = with_rules(rule(kind="initial", raise_by=1, up_to="blue"))

    decision = triage(policy, situation(triad="Immediate Extreme Observed"))

    assert decision.level == "red"
    assert names(decision) == ["triad"]


def test_measures_are_written_as_people_write_them() -> None:
    policy = with_rules(
        rule(figures=["direct_loss_cny"], at_least=1.5e7, level="blue", en="{value} of {limit}, {hazard}, {neighbours}")
    )

    decision = triage(policy, situation(figures={"direct_loss_cny": 2.5e7}, neighbours=2))

    assert decision.reasons[1].text == "25000000 of 15000000, strong wind, 2: blue"


def test_words_with_doubled_braces_are_taken_literally() -> None:
    policy = with_rules(rule(kind="initial", level="blue", en="{{x}} {hazard}"))

    assert triage(policy, situation()).reasons[1].text == "{x} strong wind: blue"


def test_a_decision_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        triage(POLICY, situation()).level = Level.RED  # type: ignore[misc]  # what the test is about


# --- what holds for every report and every sound set of rules

counts = st.one_of(st.integers(0, 40), st.integers(0, 100_000_000))
measures = st.floats(0, 1e12, allow_nan=False)
figure_values = st.fixed_dictionaries(
    {},
    optional={name: counts if figure.unit in ("persons", "houses") else measures for name, figure in FIGURES.items()},
)
situations = st.builds(
    Situation,
    hazard=st.sampled_from(list(HAZARDS.values())),
    urgency=st.sampled_from(URGENCIES),
    severity=st.sampled_from(SEVERITIES),
    certainty=st.sampled_from(CERTAINTIES),
    figures=figure_values,
    kind=st.sampled_from(["initial", "followup", "final"]),
    neighbours=st.integers(0, 20),
)


@st.composite
def rule_keys(draw: st.DrawFn) -> dict[str, Any]:
    """A sound rule without its name."""
    keys: dict[str, Any] = {}
    if draw(st.booleans()):
        keys["hazards"] = draw(st.lists(st.sampled_from([*HAZARDS, *FAMILIES]), min_size=1, max_size=3))
    if draw(st.booleans()):
        keys["figures"] = draw(st.lists(st.sampled_from(["dead", "missing", "affected"]), min_size=1, unique=True))
        keys["at_least"] = draw(st.floats(0.5, 100))
    if draw(st.booleans()):
        keys["neighbours_at_least"] = draw(st.integers(1, 10))
    if not keys:
        keys["kind"] = draw(st.sampled_from(["initial", "followup", "final"]))
    if draw(st.booleans()):
        return keys | {"level": draw(st.sampled_from(RISING[1:]))}
    return keys | {"raise_by": draw(st.integers(1, 4)), "up_to": draw(st.sampled_from(RISING[1:]))}


policies = st.one_of(
    st.just(POLICY),
    st.lists(rule_keys(), max_size=6).map(
        lambda many: with_rules(*(rule(name="abcdef"[number], **keys) for number, keys in enumerate(many)))
    ),
)


@given(policies, situations)
def test_every_report_gets_a_level_that_its_reasons_explain(policy: Policy, seen: Situation) -> None:
    decision = triage(policy, seen)

    assert decision.reasons[0].rule == "triad"
    assert decision.reasons[-1].text.endswith(f": {decision.level.en}")
    assert decision.reasons[-1].text_zh.endswith(f"：{decision.level.zh}")
    assert len(set(names(decision))) == len(decision.reasons)


@given(policies, situations)
def test_rules_only_raise(policy: Policy, seen: Situation) -> None:
    decision = triage(policy, seen)
    told = [next(level.rank for level in RISING if reason.text.endswith(level.en)) for reason in decision.reasons]

    assert told[0] == policy.triage.cells[seen.urgency, seen.severity, seen.certainty].rank
    assert told == sorted(told)


@given(policies, situations, st.data())
def test_what_is_worse_never_has_a_lower_level(policy: Policy, seen: Situation, data: st.DataObject) -> None:
    more = data.draw(figure_values)
    worse = Situation(
        hazard=seen.hazard,
        urgency=data.draw(st.sampled_from(URGENCIES[URGENCIES.index(seen.urgency) :])),
        severity=data.draw(st.sampled_from(SEVERITIES[SEVERITIES.index(seen.severity) :])),
        certainty=data.draw(st.sampled_from(CERTAINTIES[CERTAINTIES.index(seen.certainty) :])),
        figures={name: seen.figures.get(name, 0) + more.get(name, 0) for name in FIGURES},
        kind=seen.kind,
        neighbours=seen.neighbours + data.draw(st.integers(0, 5)),
    )

    assert triage(policy, worse).level.rank >= triage(policy, seen).level.rank


@given(policies, situations)
def test_the_same_report_always_gets_the_same_decision(policy: Policy, seen: Situation) -> None:
    assert triage(policy, seen) == triage(policy, seen)
