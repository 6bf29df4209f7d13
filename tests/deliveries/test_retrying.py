"""When a delivery is tried again: pure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.deliveries.retrying import ORDINARY, URGENT, Outcome, is_urgent, next_try, outcome_of

NOW = datetime(2018, 8, 20, 4, 15, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (301, "redirected"),
        (308, "redirected"),
        (400, "refused"),
        (404, "refused"),
        (410, "gone"),
        (429, "refused"),
        (500, "refused"),
    ],
)
def test_what_an_answer_means(status: int, word: str) -> None:
    assert outcome_of(status, None).word == word


def test_the_times_are_the_standards_and_urgent_alerts_begin_faster() -> None:
    def waits(urgent: bool) -> list[float]:
        found, tries = [], 1
        while at := next_try(tries, urgent=urgent, outcome=Outcome("timed_out"), now=NOW, draw=0.0):
            found.append((at - NOW).total_seconds())
            tries += 1
        return found

    later = [5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR]
    assert waits(urgent=False) == [5, *later]
    assert waits(urgent=True) == [1, 5, 15, 60, *later]


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "120", 120),
        (503, " 120 ", 120),
        (502, "120", 120),
        (504, "120", 120),
        (503, "Mon, 20 Aug 2018 04:17:00 GMT", 120),
        (503, "1", 5),  # never sooner than it would have been
        (503, "999999999999", 24 * HOUR),  # nor later than a day
        (503, "soon", 5),
        (503, "-5", 5),
        (503, "²", 5),
        (500, "120", 5),  # not asked for by this status
        (503, None, 5),
    ],
)
def test_a_receiver_that_asks_for_time_gets_it(status: int, value: str | None, seconds: int) -> None:
    at = next_try(1, urgent=False, outcome=Outcome("refused", status, value), now=NOW, draw=0.0)

    assert at == NOW + timedelta(seconds=seconds)


@given(st.integers(1, 20), st.booleans(), st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_and_never_hurries(tries: int, urgent: bool, draw: float) -> None:
    plain = next_try(tries, urgent=urgent, outcome=Outcome("timed_out"), now=NOW, draw=0.0)
    spread = next_try(tries, urgent=urgent, outcome=Outcome("timed_out"), now=NOW, draw=draw)

    assert (plain is None) == (spread is None) == (tries >= len(URGENT if urgent else ORDINARY))
    if plain is not None and spread is not None:
        assert plain <= spread <= NOW + 1.2 * (plain - NOW)


@pytest.mark.parametrize(
    ("kind", "level", "urgent"),
    [
        ("alert.raised", "red", True),
        ("alert.bypassed", "orange", True),
        ("alert.raised", "yellow", False),
        ("alert.closed", "red", False),
        ("report.received", "red", False),
        ("alert.raised", None, False),
    ],
)
def test_what_is_urgent(kind: str, level: str | None, urgent: bool) -> None:
    assert is_urgent(kind, level) is urgent
