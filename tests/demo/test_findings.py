from datetime import UTC, datetime
from typing import Any

import pytest

from app.demo.drill import pace_of
from app.demo.findings import Findings, is_the_citys
from tests.demo.fake import alert_of

EARLY, LATE = datetime(2018, 8, 19, 22, tzinfo=UTC), datetime(2018, 8, 20, 2, tzinfo=UTC)
PASSED_BY = [{"rule": "escalation.bypass", "text": "", "text_zh": ""}]


def escalation(step: int, *to: str) -> dict[str, Any]:
    return {"escalation": {"step": step, "next_at": None, "to": list(to)}}


@pytest.mark.parametrize(
    ("alert", "is_so"),
    [
        (escalation(1, "town.desk"), False),
        (escalation(1, "town.desk", "city.desk"), False),
        (escalation(2, "town.supervisor"), False),
        (escalation(2, "city.desk"), True),
        (escalation(2, "city.supervisor", "channels"), True),
        ({"reasons": PASSED_BY}, True),
        ({"reasons": [{"rule": "triad", "text": "", "text_zh": ""}]}, False),
    ],
)
def test_the_city_acts_on_what_passed_a_town_or_climbed_up_to_it(alert: dict[str, Any], is_so: bool) -> None:
    assert is_the_citys(alert_of(**alert)) is is_so


def test_a_town_is_bypassed_from_when_it_was_first_seen_and_by_every_alert_that_says_so() -> None:
    found = Findings()

    found.look(alert_of("370783005217"), EARLY)
    found.look(alert_of("370783005217", reasons=PASSED_BY), EARLY)
    found.look(alert_of("370783005217", reasons=PASSED_BY), LATE)
    found.look(alert_of("370783005280", reasons=PASSED_BY), LATE)

    assert found.bypassed.keys() == {"370783005000"}
    assert found.bypassed["370783005000"].at == EARLY
    assert len(found.bypassed["370783005000"].alerts) == 2


def test_a_silence_keeps_when_it_was_found_and_learns_when_it_was_over() -> None:
    found = Findings()

    found.silence("a", since=EARLY, heard=None, clock=LATE)
    before = found.silent["a"].heard
    found.silence("a", since=EARLY, heard=LATE, clock=None)

    assert before is None
    assert found.silent["a"].found == LATE
    assert found.silent["a"].heard == LATE


@pytest.mark.parametrize(("speed", "pace"), [(0, 300), (0.5, 1), (1, 1), (600, 600), (1e6, 600)])
def test_the_pace_is_the_speed_within_what_offices_can_keep_up_with(speed: float, pace: float) -> None:
    assert pace_of(speed) == pace
