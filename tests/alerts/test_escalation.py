"""What time makes of an alert's escalation: pure."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts import escalation
from app.hazards.cap import Level
from app.hazards.policy import load_policy
from tests.builders import NOON, TOWN

# Steps at 0, 15 and 30 minutes, then twice more every 30; red names the city at once.
SNAPSHOT = {
    "orange": {
        "due_s": 900.0,
        "steps": [
            {"after_s": 0.0, "to": ["town.desk"]},
            {"after_s": 900.0, "to": ["town.supervisor", "city.desk"]},
            {"after_s": 1800.0, "to": ["city.supervisor", "channels"]},
        ],
        "repeat_s": 1800.0,
        "repeats": 2,
    },
    "red": {
        "due_s": 300.0,
        "steps": [{"after_s": 0.0, "to": ["town.desk", "city.desk"]}, {"after_s": 300.0, "to": ["channels"]}],
        "repeat_s": None,
        "repeats": 0,
    },
}
OWNER = {"node": TOWN, "name": "上口镇", "label": "desk", "at": NOON.isoformat(), "by": "1"}


def minute(count: float) -> datetime:
    return NOON + timedelta(minutes=count)


def raised(level: str = "orange", **changes: Any) -> dict[str, Any]:
    """An alert's row as raising leaves it at NOON."""
    row: dict[str, Any] = {
        "level": level,
        "state": "raised",
        "owner": None,
        "until": None,
        "gathered_until": None,
        "policy": SNAPSHOT,
        "reasons": [],
    }
    return row | escalation.begin(SNAPSHOT, level, NOON) | changes


def after(row: dict[str, Any], now: datetime) -> tuple[list[tuple[str, int]], dict[str, Any]]:
    """What time has told by now, type and step, and the row then."""
    found = []
    for turn in escalation.turns(row, now):
        row = row | escalation.with_reason(row, turn)
        assert turn.text
        assert turn.text_zh
        found.append((turn.type, row["escalation_step"]))
    return found, row


# Late by so many minutes: the steps that are taken, and in how many minutes from then the next one is due.
LATE = [
    ("orange", 0, [], 15),
    ("orange", 14.99, [], 0.01),
    ("orange", 15, [2], 15),
    ("orange", 29, [2], 1),
    ("orange", 30, [2, 3], 30),
    # A repeat counts from when the step before was told, however late.
    ("orange", 59, [2, 3], 30),
    ("orange", 600, [2, 3], 30),
    ("red", 4, [], 1),
    # After the plan's last one: once in six times what may be waited for.
    ("red", 5, [2], 30),
    ("red", 600, [2], 30),
]


@pytest.mark.parametrize(("level", "late", "steps", "next_in"), LATE)
def test_a_late_run_takes_every_step_in_order(level: str, late: float, steps: list[int], next_in: float) -> None:
    told, row = after(raised(level), minute(late))

    assert told == [("alert.escalated", step) for step in steps]
    assert (row["escalation_next_at"] - minute(late)) / timedelta(minutes=1) == pytest.approx(next_in)


@given(st.lists(st.integers(0, 50), max_size=20))
def test_however_often_time_is_looked_at_no_step_is_skipped_or_taken_twice(pauses: list[int]) -> None:
    row, now, steps = raised(), NOON, [1]
    for pause in pauses:
        now += timedelta(minutes=pause)
        due = row["escalation_next_at"]
        told, row = after(row, now)
        assert bool(told) == (due <= now)
        steps += [step for _, step in told]
        assert row["escalation_next_at"] > now

    assert steps == list(range(1, len(steps) + 1))


def test_the_last_step_is_repeated_as_the_policy_says_and_then_rarely_but_never_given_up() -> None:
    row, told = raised(), []
    for quarter in range(24 * 4):
        more, row = after(row, minute(15 * quarter))
        told += [(15 * quarter, step) for _, step in more]

    assert told[:4] == [(15, 2), (30, 3), (60, 4), (90, 5)]
    assert told[4:] == [(90 + 180 * more, 5 + more) for more in range(1, 8)]
    assert escalation.targets(escalation.plan(SNAPSHOT, "orange"), 5) == ("city.supervisor", "channels")


def test_each_step_says_before_whom_it_is_put() -> None:
    turn = next(escalation.turns(raised(), minute(15)))

    assert turn.text == "Nobody has acknowledged it: step 2, the town's supervisor, the city's desk."
    assert turn.text_zh == "尚无单位确认：第 2 步，提请乡镇带班领导、市级值班室处置。"


def test_time_makes_nothing_of_an_alert_that_is_owned_without_a_clock_or_closed() -> None:
    owned = raised(state="acknowledged", owner=OWNER, escalation_next_at=None)
    closed = raised(state="closed", escalation_next_at=None)

    assert list(escalation.turns(owned, minute(10_000))) == list(escalation.turns(closed, minute(10_000))) == []


def test_an_acknowledgement_that_ends_begins_the_steps_anew_and_says_why() -> None:
    owned = raised(state="acknowledged", owner=OWNER, until=minute(40), escalation_step=3, escalation_next_at=None)

    early, _ = after(owned, minute(39))
    told, row = after(owned, minute(100))

    assert early == []
    # However late: the offices are told now, so now their time begins.
    assert told == [("alert.rearmed", 1)]
    assert (row["state"], row["owner"], row["until"]) == ("raised", None, None)
    assert (row["due_at"], row["escalation_next_at"]) == (minute(115), minute(115))
    assert row["reasons"][0]["rule"] == "alert.until"
    assert "上口镇" in row["reasons"][0]["text"]


# Level, state, step before; the step that being bypassed makes of it.
BYPASSES = [
    ("orange", "raised", 1, 2),
    ("orange", "raised", 2, 2),
    ("orange", "raised", 3, 3),
    ("orange", "raised", 5, 5),
    ("red", "raised", 1, 1),
    ("orange", "acknowledged", 1, 1),
]


@pytest.mark.parametrize(("level", "state", "before", "step"), BYPASSES)
def test_a_bypass_goes_no_further_than_the_first_step_that_names_the_city(
    level: str, state: str, before: int, step: int
) -> None:
    row = raised(level, state=state, escalation_step=before)

    turn = escalation.bypass(row, "上口镇", minute(5))
    changed = row | escalation.with_reason(row, turn)

    assert changed["escalation_step"] == step
    assert (changed["escalation_next_at"] == row["escalation_next_at"]) == (step == before)
    assert changed["reasons"][0]["rule"] == "escalation.bypass"
    assert "上口镇" in turn.text
    assert "上口镇" in turn.text_zh


def test_after_a_bypass_the_next_steps_follow_and_none_is_told_again() -> None:
    row = raised()
    row |= escalation.with_reason(row, escalation.bypass(row, "上口镇", minute(5)))

    told, _ = after(row, minute(30))

    assert told == [("alert.escalated", 3)]


def test_a_step_taken_early_by_hand_brings_the_next_one_forward_by_as_much() -> None:
    row = raised()
    row |= escalation.climb(row, minute(3))

    assert (row["escalation_step"], row["escalation_next_at"]) == (2, minute(18))
    assert after(row, minute(18))[0] == [("alert.escalated", 3)]


def test_a_second_reason_of_one_kind_takes_the_place_of_the_first() -> None:
    own = {"rule": "triad", "text": "Immediate, Severe, Observed", "text_zh": "紧急、严重、已观测"}
    row = raised(state="acknowledged", owner=OWNER, until=minute(1), reasons=[own])
    _, row = after(row, minute(1))
    row |= {"state": "acknowledged", "owner": OWNER, "until": minute(2)}
    _, row = after(row, minute(2))

    assert [reason["rule"] for reason in row["reasons"]] == ["alert.until", "triad"]


def test_an_alert_from_before_plans_were_kept_is_announced_every_hour() -> None:
    row = raised(policy=None, escalation_step=0, escalation_next_at=minute(60))

    assert after(row, minute(59))[0] == []
    assert after(row, minute(60))[0] == [("alert.escalated", 1)]
    assert escalation.climb(row, minute(1)) == {"escalation_step": 1, "escalation_next_at": minute(61)}
    assert escalation.bypass(row, "上口镇", minute(1)).changes == {}
    assert escalation.targets(None, 1) == ()


@pytest.mark.parametrize("level", list(Level)[:4])
@pytest.mark.parametrize("tempo", [1.0, 0.5, 0.1])
def test_the_tempo_of_a_duty_period_or_a_drill_shortens_every_time_alike(level: Level, tempo: float) -> None:
    policy = load_policy(None)

    full = escalation.plan(policy.snapshot(1.0), str(level))
    short = escalation.plan(policy.snapshot(tempo), str(level))

    assert full
    assert short
    assert full.due == policy.alerts.due(level)
    assert short.due == full.due * tempo
    assert short.after == tuple(one * tempo for one in full.after)
    assert short.repeat == (full.repeat * tempo if full.repeat else None)
    assert (short.to, short.repeats, short.last) == (full.to, full.repeats, full.last)
