"""Any life of an alert, told by its HTTP API, is the one the reference tells."""

import asyncio
import contextlib
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.alerts import engine
from app.core.clock import ManualClock
from app.core.settings import Settings
from app.hazards.policy import DEFAULT
from app.main import create_app
from tests.alerts.reference import Life, Office, Plan, plans
from tests.builders import CITY, EXTREME, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, URGENT, VILLAGE, report
from tests.conftest import running, token_of

TRIADS = {"red": EXTREME, "orange": URGENT, "yellow": URGENT | {"severity": "Moderate"}, "routine": {}}
PARENT = {VILLAGE: TOWN, FAR_VILLAGE: OTHER_TOWN}
QUIET_EVENTS = ("alert.raised", "alert.updated")

villages = st.sampled_from(list(PARENT))
levels = st.sampled_from(list(TRIADS))
verbs = st.sampled_from(["acknowledge", "acknowledge", "release", "escalate", "close"])
# The policy's times are multiples of five: these meet them, and miss them by a little.
pauses = st.sampled_from([0, 1, 4, 5, 10, 14, 15, 29, 30, 40])


def sign_in(office: Office) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(office.node, office.role)}"}


def offices(town: str) -> list[Office]:
    return [Office(town, "desk", "town"), Office(town, "supervisor", "town"), Office(CITY, "desk", "city")]


# Sees all and opens nothing.
WATCHER = Office(CITY, "reporter", "city")


class Bench:
    """One application for all lives, each of which begins days after the one before."""

    def __init__(self, app: Any, client: httpx.AsyncClient, clock: ManualClock, runner: asyncio.Runner) -> None:
        self.app, self.client, self.clock, self._runner = app, client, clock, runner

    def get(self, path: str, who: Office = WATCHER, **params: Any) -> Any:
        answer = self._runner.run(self.client.get(path, headers=sign_in(who), params=params))
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, who: Office, body: dict[str, Any]) -> httpx.Response:
        return self._runner.run(self.client.post(path, headers=sign_in(who), json=body))

    def pass_time(self, minutes: int) -> None:
        self.clock.advance(timedelta(minutes=minutes))
        self._runner.run(engine.run_due(self.app.state.database, clock=self.clock, batch=2))


class Lives(RuleBasedStateMachine):
    """Reports come, offices act, time passes; `lives` says what must have come of it."""

    bench: ClassVar[Bench]
    plans: ClassVar[dict[str, Plan]]

    def __init__(self) -> None:
        super().__init__()
        self.lives: dict[str, Life] = {}
        self.town_of: dict[str, str] = {}
        self.active: dict[str, str] = {}
        self.incidents: dict[str, str] = {}
        self.reports: dict[str, int] = {}
        self.told: dict[str, int] = {}
        self.shown: dict[str, dict[str, Any]] = {}
        self.cursor = ""

    @initialize()
    def begin(self) -> None:
        # What a life that failed has left.
        for alert in self.bench.get("/v1/alerts")["items"]:
            self.bench.post(f"/v1/alerts/{alert['id']}/close", Office(CITY, "desk", "city"), {"reason": "【演练】"})
        # Beyond the time in which a report joins an incident of the life before.
        self.bench.pass_time(3 * 24 * 60)
        self.cursor = self.bench.get("/v1/alerts")["cursor"]

    @rule(village=villages, level=levels, by_town=st.booleans())
    def someone_reports(self, village: str, level: str, by_town: bool) -> None:
        town = PARENT[village]
        sender = Office(town, "desk", "town") if by_town else Office(village, "reporter", "village")
        self._report(village, village, level, sender)

    @precondition(lambda self: VILLAGE in self.incidents)
    @rule(level=levels)
    def a_second_village_reports_the_same_incident(self, level: str) -> None:
        self._report(VILLAGE, NEIGHBOUR, level, Office(TOWN, "desk", "town"))

    def _report(self, place: str, village: str, level: str, sender: Office) -> None:
        now = self.bench.clock.now()
        body = report(
            **TRIADS[level],
            node=village,
            observed_at=now.isoformat(),
            submitted_at=now.isoformat(),
            incident_id=self.incidents.get(place) if place != village else None,
        )
        answer = self.bench.post("/v1/reports", sender, body)
        assert answer.status_code == 201, answer.text
        stored = answer.json()
        assert stored["level"] == level

        assert self.incidents.setdefault(place, stored["incident_id"]) == stored["incident_id"]
        self.reports[place] = self.reports.get(place, 0) + 1
        urgent = level != "routine"
        alert_id = self.active.get(place)
        if alert_id is not None:
            self.lives[alert_id].now = now
            self.lives[alert_id].report(level, self.reports[place], village)
        elif urgent:
            alert_id = self.active[place] = stored["alert_id"]
            assert alert_id not in self.lives
            self.lives[alert_id] = Life(self.plans, level, now, reports=self.reports[place], office=village)
            self.town_of[alert_id] = PARENT[place]
        assert stored["alert_id"] == alert_id
        if alert_id is not None:
            self.lives[alert_id].hold(stored["id"], level, filed_by=sender, urgent=urgent)

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), verb=verbs, minutes=st.none() | pauses)
    def an_office_acts(self, data: st.DataObject, verb: str, minutes: int | None) -> None:
        alert_id, who = self._some(data)
        life = self.lives[alert_id]
        match verb:
            case "acknowledge":
                until = self.bench.clock.now() + timedelta(minutes=minutes) if minutes else None
                body = {"until": until.isoformat()} if until else {}
                self._act(alert_id, who, verb, body, life.acknowledge(who, until))
            case "release":
                self._act(alert_id, who, verb, {"note": "【演练】换班"}, life.release(who))
            case "escalate":
                self._act(alert_id, who, verb, {"note": "【演练】请支援"}, life.escalate(who))
            case _:
                self._close(alert_id, who)

    @rule(minutes=pauses)
    def time_passes(self, minutes: int) -> None:
        self.bench.pass_time(minutes)
        for life in self.lives.values():
            life.pass_time(self.bench.clock.now())

    @precondition(lambda self: self.lives)
    @rule(data=st.data(), all_of_it=st.booleans())
    def the_town_reads(self, data: st.DataObject, all_of_it: bool) -> None:
        alert_id, _ = self._some(data)
        desk = Office(self.town_of[alert_id], "desk", "town")
        life = self.lives[alert_id]
        if all_of_it:
            self.bench.get(f"/v1/alerts/{alert_id}", desk)
            life.open(list(life.held))
        else:
            one = data.draw(st.sampled_from(list(life.held)))
            self.bench.get(f"/v1/reports/{one}", desk)
            life.open([one])

    @invariant()
    def what_is_told_and_what_is_shown_are_the_reference(self) -> None:
        if not self.cursor:
            return
        changes = self.bench.get("/v1/alerts/changes", since=self.cursor, limit=500)
        assert changes["pending"] == 0
        self.cursor = changes["cursor"]
        for change in changes["results"]:
            alert = change["alert"]
            life = self.lives[alert["id"]]
            told = self.told.get(alert["id"], 0)
            kind, view = life.events[told]
            assert (change["type"], seen(alert, view)) == (kind, view)
            assert (alert["due_at"] is not None) == (alert["state"] == "raised")
            assert (alert["escalation"]["next_at"] is not None) == (alert["state"] == "raised")
            before = self.shown.get(alert["id"])
            if before is not None:
                assert alert["version"] == before["version"] + 1
                assert before["state"] != "closed"
            self.told[alert["id"]], self.shown[alert["id"]] = told + 1, alert
        assert {one: len(life.events) for one, life in self.lives.items()} == self.told

        listed = {alert["id"]: alert for alert in self.bench.get("/v1/alerts")["items"]}
        assert listed == {one: alert for one, alert in self.shown.items() if alert["state"] != "closed"}

    def teardown(self) -> None:
        """At the end each alert is closed, and its timeline and its reports tell the same life."""
        if sys.exception():
            # It would hide what went wrong.
            return
        for alert_id, life in list(self.lives.items()):
            if life.state != "closed":
                self._close(alert_id, Office(CITY, "desk", "city"))
        self.what_is_told_and_what_is_shown_are_the_reference()
        self.bench.pass_time(24 * 60)
        for alert_id, life in self.lives.items():
            assert self.bench.get(f"/v1/alerts/{alert_id}") == self.shown[alert_id]
            steps = self.bench.get(f"/v1/alerts/{alert_id}/timeline")["items"]
            expected = [
                (view["version"], kind, view["step"])
                for kind, view in life.events
                if kind == "alert.raised" or kind not in QUIET_EVENTS
            ]
            assert [(step["version"], step["type"], step["step"]) for step in steps] == expected
            assert all(
                re.search("[a-z]{2}", step["text"]) and re.search("[一-鿿]{2}", step["text_zh"]) for step in steps
            )
            for report_id, held in life.held.items():
                custody = self.bench.get(f"/v1/reports/{report_id}")["custody"]
                at_town = next(one for one in custody if one["tier"] == "town")
                assert (at_town["state"], moment(at_town["bypassed_at"])) == (held.state, held.bypassed_at)

    def _some(self, data: st.DataObject) -> tuple[str, Office]:
        # Those that still live more often than those that are closed.
        alert_id = data.draw(st.sampled_from([*self.active.values()] * 3 + [*self.lives][-3:]))
        return alert_id, data.draw(st.sampled_from(offices(self.town_of[alert_id])))

    def _close(self, alert_id: str, who: Office) -> None:
        came = self.lives[alert_id].close(who)
        self._act(alert_id, who, "close", {"reason": "【演练】水退"}, came)
        if came != "owned":
            self.active = {place: one for place, one in self.active.items() if one != alert_id}

    def _act(self, alert_id: str, who: Office, act: str, body: dict[str, Any], expected: str) -> None:
        answer = self.bench.post(f"/v1/alerts/{alert_id}/{act}", who, body)
        found = answer.json()
        if expected == "owned":
            owner = self.lives[alert_id].owner
            assert owner
            assert (answer.status_code, found["code"]) == (409, "alert_owned")
            assert found["owner"]["node"] == owner.node
            return
        assert answer.status_code == 200, answer.text
        code = found["notice"]["code"] if found["notice"] else "applied"
        assert (code, found["applied"]) == (expected, expected == "applied")


def seen(alert: dict[str, Any], view: dict[str, Any]) -> dict[str, Any]:
    """The alert in the reference's words; why only where the reference says so."""
    owner = alert["owner"]
    return {
        "version": alert["version"],
        "level": alert["level"],
        "state": alert["state"],
        "owner": (owner["node"], owner["label"]) if owner and alert["state"] != "closed" else view["owner"],
        "until": moment(alert["until"]),
        "due_at": moment(alert["due_at"]),
        "step": alert["escalation"]["step"],
        "next_at": moment(alert["escalation"]["next_at"]),
        "to": alert["escalation"]["to"],
        "reports": alert["reports"],
        "why": alert["reasons"][0]["rule"] if view["why"] else None,
    }


def moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


@pytest.fixture
def policy_file(tmp_path: Path) -> Path:
    """The packaged policy, widened so that yellow raises alerts too."""
    text = DEFAULT.read_text("utf-8")
    narrow = 'levels = ["red", "orange"]'
    assert text.count(narrow) == 1
    path = tmp_path / "policy.toml"
    path.write_text(text.replace(narrow, 'levels = ["red", "orange", "yellow"]'), "utf-8")
    return path


@pytest.fixture
def bench(settings: Settings, policy_file: Path) -> Iterator[Bench]:
    clock = ManualClock(NOON)
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()

        async def enter() -> tuple[Any, httpx.AsyncClient]:
            app = create_app(settings.model_copy(update={"policy_file": policy_file}), clock=clock)
            await stack.enter_async_context(running(app))
            transport = httpx.ASGITransport(app)
            return app, await stack.enter_async_context(
                httpx.AsyncClient(transport=transport, base_url="http://beacon.test")
            )

        app, client = runner.run(enter())
        yield Bench(app, client, clock, runner)
        runner.run(stack.aclose())


def test_any_life_of_alerts_is_the_one_the_reference_tells(bench: Bench, policy_file: Path) -> None:
    class Here(Lives):
        pass

    Here.bench, Here.plans = bench, plans(policy_file.read_text("utf-8"))

    run_state_machine_as_test(
        Here,
        settings=hypothesis_settings(
            max_examples=32 if bench.app.state.database.is_sqlite else 8,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
