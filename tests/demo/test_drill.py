from datetime import UTC, datetime

import httpx
import pytest

from app.demo import command, night
from app.demo.drill import DrillRefused
from tests.demo.fake import CITY, DRILL, PLOT, FakeBeacon, alert_of
from tests.demo.replaying import perform


def test_what_is_real_is_neither_shown_nor_touched() -> None:
    server = FakeBeacon()
    real = alert_of("370783001063", drill_id=None, headline="the real thing")
    server.alerts["real"] = real

    code, out = perform(server)

    assert code == 0
    assert server.alerts["real"] is real
    assert "the real thing" not in out


def test_the_whole_night_belongs_to_one_drill_that_is_ended_and_scored() -> None:
    server = FakeBeacon()

    code, out = perform(server)

    (drill,) = server.drills
    assert code == 0
    assert drill["title"].startswith("【演练】")
    assert drill["pace"] == 300
    assert {body["drill_id"] for _, body in server.received} == {DRILL}
    assert server.ended == [DRILL]
    assert "Score of the drill: 90.5 / 100" in out
    assert "1 / 2" in out
    assert "none asked" not in out


def test_every_town_takes_on_its_own_alerts_but_the_one_that_sleeps_and_the_city_takes_on_those() -> None:
    server = FakeBeacon()

    code, _ = perform(server)

    assert code == 0
    assert {"alerts:read", "alerts:act"} <= set(server.scopes[PLOT.asleep])
    by_town = {alert["id"]: alert["node"]["path"][1] for alert in server.alerts.values()}
    assert {by_town[alert] for office, alert in server.acknowledged if office == CITY} == {PLOT.asleep}
    assert all(office == by_town[alert] for office, alert in server.acknowledged if office != CITY)
    assert {alert for _, alert in server.acknowledged} == server.alerts.keys()


def test_every_village_of_the_town_answers_the_roll_call_but_the_one_without_a_signal() -> None:
    server = FakeBeacon()

    code, _ = perform(server)

    assert code == 0
    assert server.roll_call is not None
    assert server.roll_call["node"] == PLOT.asked
    assert server.roll_call["drill_id"] == DRILL
    assert server.roll_call["question"].startswith("【演练】")
    silent = [node for node, one in server.answers.items() if one["state"] == "waiting"]
    told = {node: one["reports"] for node, one in server.answers.items() if one["state"] == "something"}
    before = [step for step in night.load("any", datetime.now(UTC), DRILL) if step.at < PLOT.asks_at]
    assert silent == [PLOT.silent]
    assert told.keys() == {step.node for step in before} & server.answers.keys() - {PLOT.silent}
    assert all(server.stored[report]["node"] == node for node, reports in told.items() for report in reports)
    assert len([one for one in server.answers.values() if one["state"] == "nothing"]) > 50


def test_the_summary_names_the_bypassed_town_and_the_silent_village_with_the_times_of_the_script() -> None:
    server = FakeBeacon()

    _, out = perform(server)

    (bypassed,) = [line for line in out.splitlines() if line.startswith("越级 Bypassed")]
    (silent,) = [line for line in out.splitlines() if line.startswith("失联 Silent")]
    said = [step.at for step in night.load("any", datetime.now(UTC), DRILL) if step.node == PLOT.silent]
    assert "洛城街道 08-20 0" in bypassed
    assert f"自 since {said[0]:%m-%d %H:%M}，发现 found 08-20 02:00，恢复 heard again {said[1]:%m-%d %H:%M}" in silent
    assert [f"{moment:%H:%M}" for moment in said[:2]] == ["23:36", "05:31"]


@pytest.mark.parametrize(
    ("flag", "missing"),
    [
        ("bypasses", "未见洛城街道被越级 the town 370783005000 was not seen bypassed"),
        ("finds_silence", "未见口子村失联 the village 370783108253 was not seen silent"),
        ("hears", "未见口子村恢复联系 the village 370783108253 was not seen heard again"),
    ],
)
def test_what_the_city_did_not_see_is_said_and_fails_the_exercise(
    flag: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeBeacon()
    setattr(server, flag, False)
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.05)
    monkeypatch.setattr(command, "patience", lambda due, pace: 0.05)

    code, out = perform(server)

    assert code == 1
    assert [line for line in out.splitlines() if "Not achieved" in line] == [f"未达成 Not achieved: {missing}"]


def test_a_roll_call_that_is_refused_is_told_and_does_not_stop_the_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeBeacon()
    server.before = lambda request: httpx.Response(403) if request.url.path == "/v1/rollcalls" else None
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.05)

    code, out = perform(server)

    assert code == 1
    assert "roll call of 370783108000" in out
    assert "answered 216" in out


def test_a_drill_that_may_not_be_begun_is_refused_before_anything_is_sent() -> None:
    server = FakeBeacon()
    server.before = lambda request: (
        httpx.Response(403, json={"detail": "no"}) if request.url.path == "/v1/drills" else None
    )

    with pytest.raises(DrillRefused, match="403 no"):
        perform(server)

    assert server.keys == {}
    assert server.received == []


def test_a_drill_that_cannot_be_ended_is_said_and_fails_the_exercise() -> None:
    server = FakeBeacon()
    server.before = lambda request: httpx.Response(404) if request.url.path.endswith("/end") else None

    code, out = perform(server)

    assert code == 1
    assert "the drill could not be ended: 404" in out
