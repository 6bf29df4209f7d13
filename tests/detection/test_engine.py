"""What early detection makes of reports as they come in."""

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import delete, event, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.alerts.models import Alert
from app.core.clock import ManualClock, day_of
from app.core.database import Database
from app.core.ids import new_id
from app.detection import engine
from app.detection.engine import run_due
from app.detection.models import Alarm, DetectionCursor
from app.drills.models import Drill
from app.feed import service as feed
from app.feed.models import FeedEvent, FeedHead
from app.hazards.policy import DEFAULT, Policy, load_policy
from app.incidents.models import Incident
from app.reports.models import Report
from tests.builders import CITY, EXTREME, FAR_VILLAGE, FOURTH, NEIGHBOUR, THIRD, TOWN, VILLAGE
from tests.detection.conftest import Post, place
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
POLICY = load_policy(None)


def policy(folder: Path, *changes: tuple[str, str]) -> Policy:
    """The packaged policy with the last of each text replaced: [detection] stands at the end."""
    text = DEFAULT.read_text("utf-8")
    for before, after in changes:
        assert before in text, before
        text = after.join(text.rsplit(before, 1))
    (folder / "policy.toml").write_text(text, "utf-8")
    return load_policy(folder / "policy.toml")


async def look(database: Database, clock: ManualClock, found: Policy = POLICY, **answered: Any) -> list[Any]:
    """Run the job; the alarms that are stored then."""
    assert await run_due(database, policy=found, clock=clock, **answered) is None
    return sorted(await rows(database, Alarm), key=lambda alarm: (alarm.raised_at, alarm.key))


async def quiet_days(post: Post, clock: ManualClock, days: int) -> None:
    """So long ago the log began, with a single report from far away."""
    await post(FAR_VILLAGE)
    clock.advance(timedelta(days=days))


async def test_three_reports_of_two_villages_close_by_are_a_cluster_with_its_alert(
    post: Post, database: Database, clock: ManualClock, client: httpx.AsyncClient, as_: As
) -> None:
    first = await post(VILLAGE, location=place(), hazard="fire.building")
    second = await post(NEIGHBOUR, location=place(900), hazard="pollution.air")
    assert await look(database, clock) == []
    clock.advance(timedelta(hours=2))
    last = await post(VILLAGE, location=place(1800), hazard="fire.building")

    (alarm,) = await look(database, clock)

    assert (alarm.rule, alarm.family, alarm.hazard, alarm.node_code) == ("cluster", "accident", None, VILLAGE)
    assert alarm.sentence == "3 reports of 2 nodes within 1.8 km and 2.0 hours, limit 3 of 2"
    assert alarm.sentence_zh == "2 个单位的 3 份报告，相距 1.8 公里、2.0 小时之内，界限 2 个单位 3 份"
    assert alarm.reports == [first["id"], second["id"], last["id"]]
    assert (str(alarm.report_id), str(alarm.incident_id)) == (last["id"], last["incident_id"])
    (alert,) = await rows(database, Alert)
    assert (alert.id, alert.level, alert.origin) == (alarm.alert_id, "yellow", "detection")
    assert alert.reasons == [{"rule": "cluster", "text": alarm.sentence, "text_zh": alarm.sentence_zh}]
    told = [one for one in await rows(database, FeedEvent) if one.topic == "alarm"]
    assert [(one.type, one.subject_id, one.body["sentence"]) for one in told] == [
        ("alarm.raised", alarm.id, alarm.sentence)
    ]
    shown = (await client.get("/v1/alerts", headers=as_(CITY, "desk"))).json()["items"]
    assert [one["id"] for one in shown] == [str(alarm.alert_id)]


async def test_looking_again_and_more_of_the_same_tell_nothing_new(
    post: Post, database: Database, clock: ManualClock
) -> None:
    for village in (VILLAGE, NEIGHBOUR, THIRD):
        await post(village, location=place())
    once = await look(database, clock)
    assert await look(database, clock) == once
    for _ in range(20):
        clock.advance(timedelta(hours=1))
        await post(VILLAGE, location=place(500))
    assert await look(database, clock) == once

    # It goes on: after the rule's time it is told again.
    clock.advance(timedelta(hours=6))
    await post(NEIGHBOUR, location=place(500))

    assert [alarm.rule for alarm in await look(database, clock)] == ["cluster", "cluster"]
    assert len(await rows(database, Alert)) == 1


async def test_two_of_a_disease_in_one_week_are_a_cluster_of_it(
    post: Post, database: Database, clock: ManualClock
) -> None:
    await post(VILLAGE, hazard="disease.animal", location=place())
    clock.advance(timedelta(days=6))
    await post(NEIGHBOUR, hazard="disease.human", location=place())
    assert await look(database, clock) == []

    await post(NEIGHBOUR, hazard="disease.animal", location=place(1900))

    (alarm,) = await look(database, clock)
    assert (alarm.rule, alarm.hazard, alarm.node_code) == ("cluster.disease", "disease.animal", NEIGHBOUR)
    assert alarm.sentence == "2 reports of 2 nodes within 1.9 km and 144.0 hours, limit 2 of 1"


async def test_a_follow_up_is_no_new_event(post: Post, database: Database, clock: ManualClock) -> None:
    await post(VILLAGE, location=place())
    for _ in range(5):
        await post(VILLAGE, kind="followup", location=place())
        await post(NEIGHBOUR, kind="followup", location=place())

    assert await look(database, clock) == []


async def test_a_towns_count_above_its_limit_is_an_alarm(post: Post, database: Database, clock: ManualClock) -> None:
    # Known days t-9 ... t-3 with counts 0 0 1 0 0 0 0 (t-7): mean 1 / 7 = 0.14, SD 0.38 -> 0.5;
    # limit = 0.14 + 1.5 = 1.64, never below 3.
    await quiet_days(post, clock, 8)
    await post(VILLAGE)
    clock.advance(timedelta(days=7))
    await post(VILLAGE)
    await post(THIRD)
    assert await look(database, clock) == []

    last = await post(NEIGHBOUR)

    (alarm,) = await look(database, clock)
    assert (alarm.rule, alarm.family, alarm.node_code) == ("ears.c2", "natural", TOWN)
    assert (alarm.observed, alarm.limit, alarm.day) == (3, 3.0, day_of(clock.now()))
    assert alarm.expected == pytest.approx(1 / 7)
    assert alarm.sentence == "3 today, 0.1 expected, limit 3.0"
    assert alarm.sentence_zh == "今日 3 起，预期 0.1 起，界限 3.0 起"
    assert (str(alarm.report_id), alarm.reports) == (last["id"], [])
    (alert,) = await rows(database, Alert)
    assert (alert.id, str(alert.incident_id)) == (alarm.alert_id, last["incident_id"])

    for _ in range(4):
        await post(NEIGHBOUR)
    assert await look(database, clock) == [alarm]


async def test_a_log_that_has_just_begun_knows_no_days_to_compare_with(
    post: Post, database: Database, clock: ManualClock
) -> None:
    await quiet_days(post, clock, 5)
    for _ in range(9):
        await post(VILLAGE)

    assert await look(database, clock) == []


async def test_a_day_without_the_towns_answer_is_missing(post: Post, database: Database, clock: ManualClock) -> None:
    await quiet_days(post, clock, 12)
    today = day_of(clock.now())
    asked: list[tuple[str, date, date]] = []

    def answers(*ago: int, town: str = TOWN) -> Any:
        async def answered(conn: AsyncConnection, city_id: str, since: date, until: date) -> dict[str, set[date]]:
            asked.append((city_id, since, until))
            return {town: {today - timedelta(days=one) for one in ago}}

        return {"answered": answered}

    for _ in range(3):
        await post(VILLAGE)

    # Three of the days t-9 ... t-3 were answered: one too few. Then another town answered, this one never did.
    assert await look(database, clock, **answers(11, 9, 5, 3, 1)) == []
    await post(VILLAGE)
    assert await look(database, clock, **answers(11, 9, 7, 5, 3, town="370783001000")) == []
    await post(VILLAGE)
    (alarm,) = await look(database, clock, **answers(11, 9, 7, 5, 3))

    assert alarm.sentence == "5 today, 0.0 expected, limit 3.0"
    assert asked[0] == (CITY, today - timedelta(days=11 + 30), today)


async def test_what_is_reported_late_counts_on_its_day_and_too_late_is_no_early_sign(
    post: Post, database: Database, clock: ManualClock
) -> None:
    await quiet_days(post, clock, 30)
    for ago in (3, 20):
        for _ in range(3):
            await post(VILLAGE, clock.now() - timedelta(days=ago))

    (alarm,) = await look(database, clock)

    assert alarm.day == day_of(clock.now() - timedelta(days=3))


async def test_by_policy_an_alarm_raises_no_alert_or_a_higher_one(
    post: Post, database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    for village in (VILLAGE, NEIGHBOUR, THIRD):
        await post(village, location=place())
    (alarm,) = await look(database, clock, policy(tmp_path, ('level = "yellow"', 'level = "none"')))
    assert (alarm.alert_id, alarm.level) == (None, None)
    assert await rows(database, Alert) == []

    for village in (VILLAGE, NEIGHBOUR, THIRD):
        await post(village, location=place(9000), hazard="fire.building", **EXTREME)
    alarms = await look(database, clock, policy(tmp_path, ('level = "yellow"', 'level = "orange"')))

    # The incident's alert was red before, and stays so.
    (fires,) = (one for one in alarms if one.family == "accident")
    assert fires.level == "orange"
    assert [alert.level for alert in await rows(database, Alert) if alert.id == fires.alert_id] == ["red"]


async def test_after_its_cursor_has_expired_it_looks_at_the_last_week_anew(
    post: Post, database: Database, clock: ManualClock
) -> None:
    await post(VILLAGE, location=place())
    assert await look(database, clock) == []
    async with database.writing() as conn:
        await conn.execute(update(DetectionCursor).values(epoch=new_id()))
    await post(NEIGHBOUR, location=place())
    await post(NEIGHBOUR, location=place())
    once = await look(database, clock)
    assert len(once) == 1

    async with database.writing() as conn:
        await feed.prune(conn, city_id=CITY, before=clock.now() + timedelta(days=1))
        await conn.execute(update(DetectionCursor).values(seq=0))

    assert await look(database, clock) == once
    (cursor,) = await rows(database, DetectionCursor)
    assert cursor.seq == (await rows(database, FeedHead))[0].last_seq


async def test_a_drill_has_alarms_of_its_own_and_none_of_them_is_real(
    post: Post, database: Database, clock: ManualClock, client: httpx.AsyncClient, as_: As
) -> None:
    drill = await started_drill(database, clock.now())
    for village, of in ((VILLAGE, None), (NEIGHBOUR, drill), (VILLAGE, drill)):
        await as_if_posted(database, await post(village, location=place()), of)
    assert await look(database, clock) == []

    await as_if_posted(database, await post(THIRD, location=place()), drill)
    (alarm,) = await look(database, clock)

    assert (alarm.drill_id, len(alarm.reports)) == (drill, 3)
    desk = as_(CITY, "desk")
    assert (await client.get("/v1/alarms", headers=desk)).json()["items"] == []
    items = (await client.get(f"/v1/alarms?drill={drill}", headers=desk)).json()["items"]
    assert [one["id"] for one in items] == [str(alarm.id)]
    assert [one.drill_id for one in await rows(database, FeedEvent) if one.topic == "alarm"] == [drill]


async def test_the_alarms_are_the_same_however_many_reports_it_looks_at_at_once(
    post: Post, database: Database, clock: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = policy(tmp_path, ('level = "yellow"', 'level = "none"'))
    await quiet_days(post, clock, 12)
    for number in range(40):
        village = (VILLAGE, NEIGHBOUR, THIRD, FOURTH)[number * 7 % 4]
        hazard = ("flood.river", "disease.human", "fire.building")[number % 3]
        await post(village, location=place(number * 733 % 9000), hazard=hazard)
        clock.advance(timedelta(minutes=number * 37 % 200))

    told = []
    for batch in (1, 7, 2000):
        monkeypatch.setattr(engine, "BATCH", batch)
        alarms = await look(database, clock, found)
        told.append(sorted((alarm.key, alarm.sentence, alarm.report_id) for alarm in alarms))
        async with database.writing() as conn:
            await conn.execute(delete(Alarm).where(Alarm.city_id == CITY))
            await conn.execute(delete(DetectionCursor).where(DetectionCursor.city_id == CITY))

    assert len(told[0]) > 8
    assert {key.split("/")[1] for key, _, _ in told[0]} == {"cluster", "cluster.disease", "ears.c2"}
    assert told[0] == told[1] == told[2]


@contextmanager
def statements(database: Database) -> Any:
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    for one in database.engines:
        event.listen(one.sync_engine, "before_cursor_execute", note)
    yield seen
    for one in database.engines:
        event.remove(one.sync_engine, "before_cursor_execute", note)


async def test_a_batch_of_thousands_costs_a_few_statements(
    post: Post, database: Database, clock: ManualClock, tmp_path: Path
) -> None:
    await quiet_days(post, clock, 12)
    await look(database, clock)
    told = await post(VILLAGE, location=place())
    # As many more as one post cannot send: the same report again and again, and what the log says of it.
    (row,) = [dict(one._mapping) for one in await rows(database, Report) if str(one.id) == told["id"]]
    (entry,) = [dict(one._mapping) for one in await rows(database, FeedEvent) if str(one.subject_id) == told["id"]]
    more = [
        row | {"id": new_id(), "node_code": (NEIGHBOUR, VILLAGE)[n % 2], "lat": 36.9 + n / 5000} for n in range(2500)
    ]
    async with database.writing() as conn:
        await conn.execute(insert(Report), more)
        operations = [[feed.Event("report.received", "report", one["id"], 1, VILLAGE, entry["body"])] for one in more]
        await feed.append(conn, city_id=CITY, operations=operations, now=clock.now())

    with statements(database) as seen:
        alarms = await look(database, clock, policy(tmp_path, ('level = "yellow"', 'level = "none"')))

    # One cluster for every two kilometres of fifty-six, and the town's count.
    assert 12 <= sum(alarm.rule == "cluster" for alarm in alarms) <= 40
    assert sum(alarm.rule == "ears.c2" for alarm in alarms) == 1
    # Two batches and the look that finds nothing more.
    assert len(seen) <= 36, seen


async def as_if_posted(database: Database, told: dict[str, Any], drill_id: UUID | None) -> None:
    """Put the report and its incident into a drill."""
    async with database.writing() as conn:
        for table, of in ((Report, told["id"]), (Incident, told["incident_id"])):
            await conn.execute(
                update(table).where(table.city_id == CITY, table.id == UUID(of)).values(drill_id=drill_id)
            )


async def started_drill(database: Database, now: datetime) -> UUID:
    found = new_id()
    async with database.writing() as conn:
        row = {"city_id": CITY, "id": found, "node_code": CITY, "title": "【演练】", "pace": 1.0, "began_at": now}
        await conn.execute(insert(Drill), [row])
    return found


async def test_two_processes_that_look_at_once_tell_each_alarm_once(
    post: Post, database: Database, clock: ManualClock, database_url: str
) -> None:
    for hazard in ("flood.river", "fire.building"):
        for village in (VILLAGE, NEIGHBOUR, THIRD):
            await post(village, location=place(), hazard=hazard)
    others = [Database(database_url, pool=2) for _ in range(3)]

    await asyncio.gather(*(run_due(one, policy=POLICY, clock=clock) for one in (database, *others)))

    for one in others:
        await one.close()
    alarms = await look(database, clock)
    assert [alarm.family for alarm in sorted(alarms, key=lambda alarm: alarm.family)] == ["accident", "natural"]
    assert sum(one.topic == "alarm" for one in await rows(database, FeedEvent)) == 2
