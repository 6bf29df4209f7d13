"""The course of an incident's alerts, step by step."""

from datetime import datetime, timedelta

from app.evaluation.courses import Act, Course
from app.hazards.cap import Level
from tests.builders import NOON

DUE = {Level.RED: 5, Level.ORANGE: 15, Level.YELLOW: 60, Level.BLUE: 240, Level.ROUTINE: 1440}


def course() -> Course:
    return Course(lambda level, _: timedelta(minutes=DUE[level]), lambda _: timedelta(minutes=10))


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_only_what_needs_an_alert_raises_one_and_its_level_never_falls() -> None:
    found = course()
    found.said(at(0), Level.YELLOW, raises=False)
    assert not found.active

    found.said(at(1), Level.ORANGE, raises=True)
    found.said(at(2), Level.BLUE, raises=False)
    found.said(at(3), Level.RED, raises=True)
    found.said(at(4), Level.ORANGE, raises=True)

    assert [(one.at, one.level, one.again) for one in found.alerts] == [(at(1), Level.RED, 0)]


def test_an_alert_is_late_when_nobody_took_it_on_by_its_time() -> None:
    in_time, late, never = course(), course(), course()
    for one in (in_time, late, never):
        one.said(at(0), Level.ORANGE, raises=True)
    in_time.act(Act(at(15), "acknowledged"))
    late.act(Act(at(15.1), "acknowledged"))
    for one in (in_time, late, never):
        one.end(at(600))

    assert [one.alerts[0].late for one in (in_time, late, never)] == [0, 1, 1]


def test_a_higher_level_leaves_no_more_time_than_there_was() -> None:
    found = course()
    found.said(at(0), Level.ORANGE, raises=True)
    found.said(at(13), Level.RED, raises=True)
    found.act(Act(at(16), "acknowledged"))

    assert found.alerts[0].late == 1


def test_a_worse_report_raises_an_acknowledged_alert_again_with_a_time_of_its_own() -> None:
    found = course()
    found.said(at(0), Level.ORANGE, raises=True)
    found.act(Act(at(10), "acknowledged"))
    found.said(at(20), Level.ORANGE, raises=True)
    found.said(at(30), Level.RED, raises=True)
    found.act(Act(at(34), "acknowledged"))
    found.end(at(600))

    assert [(one.level, one.again, one.late) for one in found.alerts] == [(Level.RED, 1, 0)]


def test_who_hands_it_back_starts_its_time_anew() -> None:
    found = course()
    found.said(at(0), Level.ORANGE, raises=True)
    found.act(Act(at(10), "acknowledged"))
    found.act(Act(at(100), "released"))
    found.end(at(114))
    assert found.alerts[0].late == 0

    found.end(at(116))
    assert found.alerts[0].late == 1


def test_after_it_was_closed_the_next_is_another_alert() -> None:
    found = course()
    found.said(at(0), Level.ORANGE, raises=True)
    found.act(Act(at(5), "closed"))
    found.said(at(6), Level.RED, raises=True)

    assert [one.level for one in found.alerts] == [Level.ORANGE, Level.RED]


def test_what_silence_raised_is_there_and_is_not_the_reports_doing() -> None:
    found = course()
    found.act(Act(at(0), "raised", Level.YELLOW))
    found.said(at(5), Level.ORANGE, raises=True)

    assert [(one.by, one.level) for one in found.alerts] == [("silence", Level.ORANGE)]


def test_acts_without_an_alert_change_nothing() -> None:
    found = course()
    for kind in ("acknowledged", "released", "closed"):
        found.act(Act(at(0), kind))
    found.end(at(1))

    assert found.alerts == []


def test_another_office_raises_an_acknowledged_alert_again_and_those_that_follow_soon_are_gathered() -> None:
    found = course()
    found.said(at(0), Level.ORANGE, raises=True, office="A")
    found.act(Act(at(1), "acknowledged"))
    found.said(at(2), Level.ORANGE, raises=True, office="A")
    assert found.alerts[0].again == 0

    found.said(at(3), Level.ORANGE, raises=True, office="B")
    assert found.alerts[0].again == 1
    found.act(Act(at(4), "acknowledged"))
    found.said(at(5), Level.ORANGE, raises=True, office="C")
    found.said(at(6), Level.ROUTINE, raises=False, office="D")
    assert found.alerts[0].again == 1

    # At the thirteenth minute the window ends: C has been waiting, D had nothing urgent.
    found.act(Act(at(14), "acknowledged"))
    assert (found.alerts[0].again, found.alerts[0].late) == (2, 0)
    found.end(at(600))
    assert (found.alerts[0].again, found.alerts[0].late) == (2, 0)
