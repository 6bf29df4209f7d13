import asyncio
import io
import socket

import httpx
import pytest
from rich.console import Console

from app.demo import command
from app.demo.desk import DeskRefused
from app.demo.link import SignInRefused
from tests.demo.fake import ADMIN, DESK, DRILL, SCORE, URL, FakeBeacon
from tests.demo.replaying import perform
from tests.field.server import problem


def test_the_desk_sees_every_alert_of_the_night_and_the_summary_says_so() -> None:
    server = FakeBeacon()

    code, out = perform(server)

    assert code == 0
    raised = [one for one in server.alerts.values() if one["origin"] == "reports"]
    assert f"alerts {len(raised)}，未见 missed 0" in out
    assert "p50" in out
    assert "masked 1" in out
    assert "alert" in out
    assert server.revoked


def test_plain_output_is_one_line_a_change_without_control_codes() -> None:
    server = FakeBeacon()

    _, out = perform(server)

    changes = [line for line in out.splitlines() if " alert.raised " in line]
    assert len(changes) == len(server.alerts)
    assert "\x1b" not in out


def test_a_terminal_shows_the_open_alerts_with_place_headline_and_counters() -> None:
    server = FakeBeacon()

    code, out = perform(server, plain=False)

    assert code == 0
    assert "Open alerts" in out
    assert "【演练】" in out
    assert "›" in out
    assert "越级 Bypassed: 洛城街道" in out
    assert "失联 Silent: 口子村" in out


def test_an_alert_that_no_poll_carries_fails_the_exercise(monkeypatch: pytest.MonkeyPatch) -> None:
    server = FakeBeacon()
    server.silent_alerts = True
    monkeypatch.setattr(command, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(command, "patience", lambda due, pace: 0.01)

    code, out = perform(server)

    assert code == 1
    raised = [one for one in server.alerts.values() if one["origin"] == "reports"]
    assert f"{len(raised)} alerts that no poll carried" in out


def test_a_report_that_is_refused_fails_the_exercise() -> None:
    server = FakeBeacon()
    refused = iter([httpx.Response(422, json={**problem(422, "hazard_unknown"), "detail": "no such hazard"})])
    server.before = lambda request: next(refused, None) if request.url.path == "/v1/reports" else None

    code, out = perform(server)

    assert code == 1
    assert "Failed: " in out
    assert "422 no such hazard" in out


def test_a_desk_with_a_wrong_password_is_refused_before_anything_is_sent() -> None:
    server = FakeBeacon()

    with pytest.raises(SignInRefused):
        perform(server, desk=("city-desk", "no"))

    assert server.received == []


def test_a_desk_that_breaks_in_the_night_ends_the_replay_and_the_keys_are_revoked() -> None:
    server = FakeBeacon()
    server.before = lambda request: httpx.Response(403) if request.url.path == "/v1/alerts/changes" else None

    with pytest.raises(DeskRefused):
        perform(server)

    assert len(server.revoked) == len(server.keys) > 0
    assert server.ended == [DRILL]


def test_an_exercise_that_is_interrupted_revokes_its_keys_ends_its_drill_and_prints_the_score() -> None:
    server, out, begun = FakeBeacon(), io.StringIO(), asyncio.Event()

    def note(request: httpx.Request) -> None:
        if request.url.path == "/v1/reports":
            begun.set()

    server.before = note

    async def go() -> None:
        exercise = asyncio.create_task(
            command.perform(URL, 600, ADMIN, DESK, console=Console(file=out), plain=True, transport=server.transport)
        )
        await begun.wait()
        exercise.cancel()
        with pytest.raises(asyncio.CancelledError):
            await exercise

    asyncio.run(go())

    assert server.drills[0]["pace"] == 600
    assert len(server.revoked) == len(server.keys) > 0
    assert server.ended == [DRILL]
    assert f"{SCORE['total']} / 100" in out.getvalue()
    assert "reports were not taken" in out.getvalue()


def test_a_server_that_does_not_answer_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        code = command.run(url, 0, ADMIN, DESK, True)

    err = capsys.readouterr().err
    assert code == 1
    assert len(err.splitlines()) == 1
    assert url in err


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:port"])
def test_what_is_not_an_address_is_told_in_one_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = command.run(url, 0, ADMIN, DESK, True)

    assert code == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
