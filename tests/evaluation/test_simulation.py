"""`beacon policy simulate`: the night as it was, told again."""

import asyncio
import io
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from sqlalchemy import event, insert, update

from app.alerts.models import Alert
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.ids import new_id
from app.core.settings import Settings
from app.demo import night
from app.detection.engine import run_due
from app.detection.models import Alarm
from app.drills.models import Drill
from app.evaluation.differences import as_json, show
from app.evaluation.simulation import Simulated, simulate
from app.hazards.cap import Level
from app.hazards.policy import DEFAULT, Policy, load_policy
from app.incidents.models import Incident
from app.main import create_app
from app.nodes.command import import_file
from app.reports.models import Report
from tests.bed import postgres
from tests.builders import CITY, EXTREME, FAR_VILLAGE, FOURTH, NEIGHBOUR, THIRD, URGENT, VILLAGE, report
from tests.conftest import running, token_of
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

EVENING = datetime(2018, 8, 19, 8, tzinfo=UTC)
SINCE, UNTIL = EVENING - timedelta(days=1), EVENING + timedelta(days=3)
IN_FORCE = load_policy(None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(EVENING)


def changed(folder: Path, *changes: tuple[str, str]) -> Policy:
    text = DEFAULT.read_text("utf-8")
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    (folder / "changed.toml").write_text(text, "utf-8")
    return load_policy(folder / "changed.toml")


async def told(database: Database, policy: Policy, *, since: datetime = SINCE, until: datetime = UNTIL) -> Simulated:
    found = await simulate(database, policy=policy, in_force=IN_FORCE, since=since, until=until)
    assert list(found.cities) == [CITY, "370784000000"]
    return found


async def post(client: httpx.AsyncClient, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    answer = await client.post("/v1/reports", json=body, headers=headers)
    assert answer.status_code in (200, 201), answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def night_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database after the exercise's night. To simulate changes nothing, so one is enough for all."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("night") / "night.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        url = f"sqlite+aiosqlite:///{path}"
        asyncio.run(play(url))
        yield url
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    name = f"t{new_id().hex}"
    server.create(name, template=request.getfixturevalue("postgres_template"))
    asyncio.run(play(server.url(name)))
    yield server.url(name)
    server.drop(name)


async def play(url: str) -> None:
    """Its first 140 reports, each at its time: detection looks on, some alerts are acknowledged late, two closed."""
    clock = ManualClock(EVENING)
    settings = Settings(database_url=url, timers_poll_seconds=0, log_level="error")
    application = create_app(settings, clock=clock)
    headers = {"Authorization": f"Bearer {token_of(CITY, 'desk')}"}
    transport = httpx.ASGITransport(application)
    async with (
        running(application),
        httpx.AsyncClient(transport=transport, base_url="http://beacon.test", headers=headers) as client,
    ):
        database: Database = application.state.database
        quiet = Console(file=io.StringIO())
        assert await import_file(database, night.NODES, dry_run=False, now=EVENING, console=quiet) == 0
        taken: list[str] = []
        for number, step in enumerate(night.load("night", EVENING, "")[:140]):
            clock.advance(step.at - clock.now())
            # The script names no places; here every office's are within a few kilometres of each other.
            spot = {"lat": 36.9 + int(step.node[-3:]) % 40 / 400, "lon": 118.9}
            # Told as real: what happened is replayed, and drills are not.
            await post(client, {}, step.body | {"location": spot, "drill_id": None})
            if number % 10 == 9:
                await run_due(database, policy=IN_FORCE, clock=clock)
                alerts = (await client.get("/v1/alerts?state=raised&limit=500")).json()["items"]
                for alert in alerts[::3]:
                    taken.append(alert["id"])
                    assert (await client.post(f"/v1/alerts/{alert['id']}/acknowledge")).status_code == 200
            if number in (60, 110):
                closed = await client.post(f"/v1/alerts/{taken.pop(0)}/close", json={"reason": "【演练】结束"})
                assert closed.status_code == 200


@pytest.fixture
async def a_night(night_url: str) -> AsyncIterator[Database]:
    database = Database(night_url)
    yield database
    await database.close()


async def test_under_the_policy_in_force_nothing_differs_and_the_figures_are_those_stored(
    a_night: Database,
) -> None:
    found = await told(a_night, IN_FORCE)

    outcome = found.cities[CITY]
    assert not found.differs, as_json(found)[:3000]
    assert outcome.stored == outcome.simulated
    stored = await rows(a_night, Report)
    assert outcome.reports == len(stored) >= 130
    assert outcome.simulated.levels == Counter(Level(one.level) for one in stored)
    alerts = await rows(a_night, Alert)
    assert outcome.simulated.alerts == Counter(Level(one.level) for one in alerts)
    assert {one.origin for one in alerts} == {"reports", "detection"}
    assert outcome.simulated.alarms == Counter(one.rule for one in await rows(a_night, Alarm))
    assert outcome.simulated.overdue > 0


async def test_without_a_rule_exactly_the_reports_that_it_raised_differ(a_night: Database, tmp_path: Path) -> None:
    found = await told(a_night, changed(tmp_path, ("neighbours_at_least = 3", "neighbours_at_least = 900")))

    raised = {
        one.id: one.level
        for one in await rows(a_night, Report)
        if any(reason["rule"] == "neighbours" for reason in one.reasons)
    }
    differing = found.cities[CITY].report_rows
    assert {row.report_id: row.stored for row in differing} == raised
    assert len(raised) >= 5
    assert all(row.simulated.rank == row.stored.rank - 1 for row in differing)
    assert all(row.why and row.why_zh for row in differing)


async def test_when_yellow_raises_alerts_each_incident_of_yellow_or_more_has_one(
    a_night: Database, tmp_path: Path
) -> None:
    policy = changed(tmp_path, ('levels = ["red", "orange"]', 'levels = ["red", "orange", "yellow"]'))
    quiet = policy.model_copy(update={"detection": policy.detection.model_copy(update={"level": "none"})})
    found = (await told(a_night, quiet)).cities[CITY]

    grave = {one.id for one in await rows(a_night, Incident) if one.level in ("red", "orange", "yellow")}
    closed = {one.incident_id for one in await rows(a_night, Alert) if one.state == "closed"}
    after = Counter(row.incident_id for row in found.alert_rows if row.what.startswith("an alert more"))
    assert found.report_rows == []
    assert sum(found.simulated.alerts.values()) >= len(grave)
    assert set(after) <= grave
    without = grave - {one.incident_id for one in await rows(a_night, Alert)}
    assert without <= set(after)
    assert all(count == 1 for incident, count in after.items() if incident not in closed)


async def test_a_shorter_time_to_acknowledge_makes_more_alerts_overdue(
    database: Database, client: httpx.AsyncClient, clock: ManualClock, as_: As, tmp_path: Path
) -> None:
    stored = await post(client, as_(VILLAGE, "reporter"), report(**URGENT, observed_at=EVENING.isoformat()))
    clock.advance(timedelta(minutes=10))
    await client.post(f"/v1/alerts/{stored['alert_id']}/acknowledge", headers=as_(CITY, "desk"))

    found = (await told(database, changed(tmp_path, ("orange = 15", "orange = 9")))).cities[CITY]

    assert (found.stored.overdue, found.simulated.overdue) == (0, 1)
    assert [row.what for row in found.alert_rows] == ["overdue"]
    assert [row.what_zh for row in found.alert_rows] == ["超时"]


async def test_a_report_that_was_less_would_have_raised_its_alert_later_and_again(
    database: Database, client: httpx.AsyncClient, clock: ManualClock, as_: As, tmp_path: Path
) -> None:
    headers = as_(VILLAGE, "reporter")
    trapped = report(observed_at=EVENING.isoformat(), figures={"trapped": 3})
    alert = (await post(client, headers, trapped))["alert_id"]
    clock.advance(timedelta(minutes=20))
    await client.post(f"/v1/alerts/{alert}/acknowledge", headers=as_(CITY, "desk"))
    clock.advance(timedelta(minutes=20))
    await post(client, headers, report(**EXTREME, observed_at=EVENING.isoformat()))

    policy = changed(
        tmp_path,
        (
            'name = "trapped"\nfigures = ["trapped"]\nat_least = 1',
            'name = "trapped"\nfigures = ["trapped"]\nat_least = 5',
        ),
    )
    found = (await told(database, policy)).cities[CITY]

    (row,) = found.report_rows
    assert (str(row.report_id), row.stored, row.simulated) == (trapped["id"], Level.ORANGE, Level.ROUTINE)
    assert row.why == "Future, Minor, Possible: routine"
    (alert_row,) = found.alert_rows
    assert alert_row.what == "40 minutes later, raised again 0 times instead of 1"
    assert (found.stored.again, found.simulated.again) == (1, 0)


async def test_what_detection_would_have_said_is_told(
    database: Database, client: httpx.AsyncClient, clock: ManualClock, as_: As, tmp_path: Path
) -> None:
    for village in (VILLAGE, NEIGHBOUR):
        spot = {"lat": 36.9, "lon": 118.9}
        body = report(observed_at=clock.now().isoformat(), location=spot)
        await post(client, as_(village, "reporter"), body)
        clock.advance(timedelta(minutes=5))
    await run_due(database, policy=IN_FORCE, clock=clock)

    policy = changed(tmp_path, ("reports_at_least = 3", "reports_at_least = 2"))
    found = (await told(database, policy)).cities[CITY]
    none = (await told(database, IN_FORCE)).cities[CITY]

    assert [(row.rule, row.node, row.simulated) for row in found.alarm_rows] == [("cluster", NEIGHBOUR, True)]
    assert found.alarm_rows[0].sentence == "2 reports of 2 nodes within 0.0 km and 0.1 hours, limit 2 of 2"
    assert [row.what for row in found.alert_rows] == ["an alert more, yellow, by detection"]
    assert not none.differs


async def test_reports_of_one_batch_count_each_other_as_they_did_then(
    database: Database, client: httpx.AsyncClient, as_: As, clock: ManualClock
) -> None:
    observed = {
        "observed_at": EVENING.isoformat(),
        "severity": "Moderate",
        "urgency": "Expected",
        "certainty": "Likely",
    }
    for _ in range(2):
        # A batch is stored in groups: the first knows of no neighbours yet.
        items = [report(node=VILLAGE, **observed) for _ in range(70)]
        items += [report(node=node, **observed) for node in (VILLAGE, NEIGHBOUR, THIRD, VILLAGE, FOURTH)]
        answer = await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(CITY, "desk"))
        assert {one["status"] for one in answer.json()["results"]} == {"created"}
        clock.advance(timedelta(hours=3))

    found = await told(database, IN_FORCE)

    assert found.cities[CITY].reports == 150
    assert len(found.cities[CITY].stored.levels) > 1
    assert not found.differs, as_json(found)[:3000]


async def test_days_outside_are_left_out(
    a_night: Database,
) -> None:
    midnight = datetime(2018, 8, 19, 16, tzinfo=UTC)
    stored = await rows(a_night, Report)

    early = (await told(a_night, IN_FORCE, until=midnight)).cities[CITY]
    late = (await told(a_night, IN_FORCE, since=midnight)).cities[CITY]

    assert early.reports == sum(one.received_at < midnight for one in stored) > 20
    assert late.reports == sum(one.received_at >= midnight for one in stored) > 20
    # Alerts of the evening that are still open at midnight are there, and are not counted again.
    assert not late.differs
    assert not early.differs
    raised = [one.raised_at for one in await rows(a_night, Alert)]
    assert sum(late.stored.alerts.values()) == sum(one >= midnight for one in raised)


async def test_drills_are_left_out(
    database: Database, client: httpx.AsyncClient, as_: As, clock: ManualClock, tmp_path: Path
) -> None:
    for village in (VILLAGE, NEIGHBOUR, THIRD):
        body = report(observed_at=EVENING.isoformat(), figures={"trapped": 3}, location={"lat": 36.9, "lon": 118.9})
        await post(client, as_(village, "reporter"), body)
    drill = {"city_id": CITY, "id": new_id(), "node_code": CITY, "title": "【演练】", "pace": 1.0, "began_at": EVENING}
    async with database.writing() as conn:
        await conn.execute(insert(Drill), [drill])
        for table in (Report, Incident, Alert):
            await conn.execute(update(table).where(table.city_id == CITY).values(drill_id=drill["id"]))

    found = await told(database, changed(tmp_path, ("neighbour_window_hours = 2", "neighbour_window_hours = 1")))

    assert found.cities[CITY].reports == 0
    assert not found.differs


async def test_thousands_of_reports_are_read_as_a_stream_without_their_words(
    database: Database, client: httpx.AsyncClient, as_: As
) -> None:
    bodies = [report(observed_at=EVENING.isoformat(), summary="【演练】一") for _ in range(2)]
    for body, village in zip(bodies, (FAR_VILLAGE, VILLAGE), strict=True):
        await post(client, as_(village, "reporter"), body)
    kept = [dict(one._mapping) for one in await rows(database, Report)]
    many = [
        kept[number % 2] | {"id": new_id(), "received_at": EVENING + timedelta(seconds=10 * number)}
        for number in range(1, 3001)
    ]
    async with database.writing() as conn:
        await conn.execute(insert(Report), many)
    asked: list[str] = []
    for engine in {id(one): one.sync_engine for one in database.engines}.values():
        event.listen(engine, "before_cursor_execute", lambda *seen: asked.append(seen[2]))

    found = await told(database, IN_FORCE)

    assert found.cities[CITY].reports == 3002
    assert not [one for one in asked if "summary" in one or "description" in one]
    assert not [one for one in asked if one.startswith(("INSERT", "UPDATE", "DELETE"))]
    # So many for each of the two cities, however many reports.
    assert len([one for one in asked if not one.startswith(("BEGIN", "SELECT feed_heads"))]) <= 1 + 2 * 7


async def test_it_is_shown_as_tables_and_as_json(
    database: Database, client: httpx.AsyncClient, clock: ManualClock, as_: As, tmp_path: Path
) -> None:
    bodies = [report(observed_at=EVENING.isoformat(), figures={"trapped": 3}) for _ in range(60)]
    for body in bodies:
        clock.advance(timedelta(minutes=1))
        await post(client, as_(VILLAGE, "reporter"), body)
    policy = changed(
        tmp_path,
        ('zh = "被困 {value} 人"', 'zh = "困 {value}"'),
        ('at_least = 1\nlevel = "orange"\nzh = "困', 'at_least = 5\nlevel = "orange"\nzh = "困'),
    )
    found = await told(database, policy)

    out = io.StringIO()
    show(found, Console(file=out, width=220))
    said = out.getvalue()
    assert f"{CITY}: 60 reports from 2018-08-18 16:00 until 2018-08-22 16:00." in said
    assert "Reports whose level differs" in said
    assert bodies[0]["id"] in said
    assert "10 more; --json has all of them." in said
    assert "no orange alert" in said
    parsed = json.loads(as_json(found))["cities"][CITY]
    assert [row["id"] for row in parsed["report_rows"]] == [body["id"] for body in bodies]
    assert parsed["stored"]["alerts"]["orange"] == 1
    assert parsed["simulated"]["alerts"]["orange"] == 0

    out = io.StringIO()
    show(await told(database, IN_FORCE), Console(file=out, width=220))
    assert "Nothing differs." in out.getvalue()
