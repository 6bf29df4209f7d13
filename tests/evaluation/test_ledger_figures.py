"""The ledger's arithmetic: pure, by tables and against definitions."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.ids import new_id
from app.evaluation import ledger_figures
from app.evaluation.command import NAMES
from app.evaluation.ledger_figures import (
    FIGURES,
    Entry,
    Held,
    Step,
    Taken,
    figure,
    figures,
    first_carried,
    nearest_rank,
    seconds,
    suffix_minima,
    taken,
)
from app.evaluation.routes import FigureName
from tests.builders import CITY, NOON, TOWN, VILLAGE


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def entry(
    *,
    tier: str = "village",
    raised: float | None = 0,
    carried: Mapping[str, float] | None = None,
    opened: Mapping[str, float | None] | None = None,
    owner: str | None = None,
    first: Mapping[str, float] | None = None,
) -> Entry:
    """An entry received at noon; all else in seconds from then."""
    offices = {"town": TOWN, "city": CITY}
    return Entry(
        report_id=new_id(),
        node=VILLAGE,
        tier=tier,
        level="red",
        received_at=NOON,
        alert_id=None if raised is None else new_id(),
        raised_at=None if raised is None else after(raised),
        carried={name: after(at) for name, at in (carried or {}).items()},
        held={
            name: Held(offices[name], after(600), None if at is None else after(at), None)
            for name, at in (opened or {}).items()
        },
        taken=Taken(owner, {name: after(at) for name, at in (first or {}).items()}),
    )


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [
        ([], 50, None),
        ([7.0], 50, 7.0),
        ([7.0], 90, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0], 90, 2.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([15.0, 20.0, 35.0, 40.0, 50.0], 30, 20.0),
        ([15.0, 20.0, 35.0, 40.0, 50.0], 40, 20.0),
        ([float(value) for value in range(1, 101)], 90, 90.0),
        ([float(value) for value in range(1, 12)], 90, 10.0),
        ([1.0, 2.0], 100, 2.0),
    ],
)
def test_nearest_rank_by_table(values: list[float], percent: int, found: float | None) -> None:
    assert nearest_rank(values, percent) == found


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_nearest_rank_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], percent: int) -> None:
    ordered = sorted(values)

    found = nearest_rank(ordered, percent)

    enough = [value for value in ordered if 100 * sum(other <= value for other in ordered) >= percent * len(ordered)]
    assert found == min(enough)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e6))))
def test_a_figure_counts_all_and_measures_those_that_happened(given_seconds: list[float | None]) -> None:
    found = figure("raised", given_seconds)

    happened = sorted(value for value in given_seconds if value is not None)
    assert (found.count, found.missing) == (len(given_seconds), len(given_seconds) - len(happened))
    if happened:
        assert found.p50 == happened[math.ceil(len(happened) * 0.5) - 1]
        assert found.p50 <= (found.p90 or 0) <= (found.worst or 0) == happened[-1]
    else:
        assert (found.p50, found.p90, found.worst) == (None, None, None)


def test_a_villages_report_concerns_all_tiers_and_a_citys_only_its_own() -> None:
    held = {"town": None, "city": None}

    assert set(seconds(entry(opened=held))) == set(FIGURES)
    assert set(seconds(entry(tier="town", opened={"city": None}))) == {
        name for name in FIGURES if not name.endswith(".village") and name != "opened.town"
    }
    assert set(seconds(entry(tier="city"))) == {"raised", "carried.city", "acknowledged.any", "acknowledged.city"}


def test_seconds_count_from_received_and_what_was_there_before_took_none() -> None:
    found = seconds(
        entry(raised=-30, carried={"city": 2.5}, opened={"town": 60, "city": None}, first={"city": 90, "town": 100})
    )

    assert found == {
        "raised": 0.0,
        "carried.village": None,
        "carried.town": None,
        "carried.city": 2.5,
        "opened.town": 60.0,
        "opened.city": None,
        "acknowledged.any": 90.0,
        "acknowledged.village": None,
        "acknowledged.town": 100.0,
        "acknowledged.city": 90.0,
    }


def test_an_alert_that_was_owned_already_took_no_time_to_be_acknowledged() -> None:
    found = seconds(entry(owner="town", first={"city": 40}))

    assert (found["acknowledged.any"], found["acknowledged.town"], found["acknowledged.city"]) == (0.0, 0.0, 40.0)


def test_a_report_without_an_alert_is_missing_everywhere() -> None:
    found = figures([entry(raised=None), entry(raised=1)])

    by_name = {one.name: one for one in found}
    assert [one.name for one in found] == list(FIGURES)
    assert (by_name["raised"].count, by_name["raised"].missing, by_name["raised"].worst) == (2, 1, 1.0)
    assert (by_name["opened.town"].count, by_name["opened.town"].p50) == (0, None)


ACKNOWLEDGED, RELEASED, REARMED = "alert.acknowledged", "alert.released", "alert.rearmed"


@pytest.mark.parametrize(
    ("steps", "version", "owner", "first"),
    [
        ([], 1, None, {}),
        ([(2, ACKNOWLEDGED, "town")], 1, None, {"town": 2}),
        # Owned when the report came, by an office of that tier.
        ([(2, ACKNOWLEDGED, "town")], 3, "town", {}),
        ([(2, ACKNOWLEDGED, "town"), (5, ACKNOWLEDGED, "city")], 3, "town", {"city": 5}),
        # Handed back, sent up or closed before it came.
        ([(2, ACKNOWLEDGED, "town"), (3, RELEASED, "town")], 4, None, {}),
        ([(2, ACKNOWLEDGED, "town"), (3, "alert.escalated", "city")], 4, None, {}),
        # Raised again by the very report.
        ([(2, ACKNOWLEDGED, "town"), (3, REARMED, None), (4, ACKNOWLEDGED, "city")], 3, None, {"city": 4}),
        # Raised again by a later one: it had an owner all the same.
        ([(2, ACKNOWLEDGED, "town"), (4, REARMED, None), (5, ACKNOWLEDGED, "city")], 3, "town", {"city": 5}),
        # Only the first of a tier counts; a bypass takes nothing from its owner.
        ([(2, ACKNOWLEDGED, "city"), (3, "alert.bypassed", None), (4, ACKNOWLEDGED, "city")], 1, None, {"city": 2}),
        ([(2, ACKNOWLEDGED, "city"), (3, "alert.bypassed", None)], 3, "city", {}),
    ],
)
def test_who_had_the_alert_is_told_by_versions(
    steps: list[tuple[int, str, str | None]], version: int, owner: str | None, first: dict[str, int]
) -> None:
    made = [Step(number, kind, after(number), tier) for number, kind, tier in steps]

    assert taken(made[::-1], version) == Taken(owner, {tier: after(number) for tier, number in first.items()})


sightings = st.dictionaries(st.integers(1, 20), st.integers(0, 1000)).map(
    lambda found: [(version, after(at)) for version, at in found.items()]
)


@given(sightings, st.integers(1, 21))
def test_a_report_is_carried_by_the_first_answer_with_its_version_or_a_later_one(
    carried: list[tuple[int, datetime]], version: int
) -> None:
    expected = min((at for seen, at in carried if seen >= version), default=None)

    assert first_carried(suffix_minima(carried), version) == expected


def test_every_figure_has_its_words() -> None:
    assert FigureName.__args__ == FIGURES  # type: ignore[attr-defined]  # what a Literal was made of
    assert {part for name in FIGURES for part in name.split(".")} == NAMES.keys()
    assert set(ledger_figures.OWNING) >= {ACKNOWLEDGED, RELEASED, REARMED}
