"""What stands before a server answers nonsense, and clocks go wrong: a device loses nothing by it, and says so."""

import random
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from app.core.clock import ManualClock
from app.core.ids import new_id
from app.field import settling
from app.field.command import _name_of, _state
from app.field.outbox import Outbox
from app.field.store import open_store
from tests.builders import NOON, report
from tests.field.devices import URL, Device, device
from tests.field.server import Server, problem
from tests.field.test_retrying import Moody, phone_of

pytestmark = pytest.mark.anyio

YEARS = timedelta(days=3650)


@pytest.mark.parametrize("status", [200, 302, 401, 403, 410])
async def test_a_gateways_own_code_is_no_answer(status: int) -> None:
    phone = phone_of(Moody(*[httpx.Response(status, json={"code": 0, "msg": "please log in"})] * 2))
    urgent, routine = phone.outbox.put(report(), urgent=True), phone.outbox.put(report())

    await phone.deliver()

    assert [phone.outbox.report(one)["state"] for one in (urgent, routine)] == ["stored", "stored"]


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"results":[1]}',
        b'{"results":[{"problem":{"status":"x"}}]}',
        b'{"results":[{"problem":{"status":null,"code":"x"}}]}',
    ],
)
async def test_an_answer_of_no_sense_is_asked_for_again(content: bytes) -> None:
    phone = phone_of(Moody(httpx.Response(200, content=content)))
    report_id = phone.outbox.put(report())

    assert (await phone.courier.step()).retry_at is not None
    await phone.deliver()

    assert phone.outbox.report(report_id)["state"] == "stored"


@pytest.mark.parametrize("answer", [{"x": 1}, {"received": None}, {"code": "offset_wrong"}])
async def test_a_file_of_which_nothing_sensible_is_said_waits(answer: dict[str, object]) -> None:
    phone = phone_of(Moody())
    report_id = phone.outbox.put(report())
    await phone.wake()
    phone.outbox.attach(report_id, "1.jpg", b"photo", media_type="image/jpeg")

    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(202, json=answer)), base_url=URL
    ) as strange:
        object.__setattr__(phone.courier, "client", strange)
        assert (await phone.wake()).retry_at is not None

    assert phone.outbox.waiting() == 1


@pytest.mark.parametrize("header", ["Mon, 20 Aug 2018 04:15:00 +99999999999999999", "9" * 5000, "Mon, 1 Jan 99999"])
async def test_a_time_to_come_again_that_is_none_does_no_harm(header: str) -> None:
    phone = phone_of(Moody(httpx.Response(503, headers={"Retry-After": header})))
    report_id = phone.outbox.put(report())

    await phone.deliver()

    assert phone.outbox.report(report_id)["state"] == "stored"


async def test_a_page_that_is_gone_does_not_make_the_device_ask_without_end() -> None:
    asked = []

    def gone(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(410, html="<html>gone</html>")

    done = await device(httpx.MockTransport(gone), clock=ManualClock(NOON), session="t").inbox.sync()

    assert (len(asked), done.retry_at is not None) == (1, True)


async def test_a_question_that_is_wrong_is_told_and_rests_nothing() -> None:
    wrong = httpx.MockTransport(lambda _: httpx.Response(422, json=problem(422, "invalid")))
    phone = device(wrong, clock=ManualClock(NOON), session="t")

    done = await phone.inbox.sync()

    assert (done.refused, done.retry_at) == ("invalid", None)
    phone.outbox.put(report())
    assert phone.outbox.next_at() is not None
    assert phone.outbox.due(NOON, most=1)


@pytest.mark.parametrize("urgent", [True, False])
async def test_a_clock_that_was_ahead_silences_the_device_for_minutes_not_years(urgent: bool) -> None:
    server = Moody(httpx.Response(502))
    phone = phone_of(server)
    report_id = phone.outbox.put(report(), urgent=urgent)
    if urgent:
        server.poison = report_id
    phone.clock.advance(YEARS)
    await phone.wake()
    server.poison = ""

    phone.clock.advance(timedelta(hours=3) - YEARS)
    await phone.wake()

    assert phone.outbox.report(report_id)["state"] == "stored"


def phone_with_file(name: str) -> Device:
    phone = device(Server(random.Random(0)), clock=ManualClock(NOON), session="t")
    phone.outbox.attach(phone.outbox.put(report()), name, b"photo", media_type="image/jpeg")
    return phone


@pytest.mark.parametrize("name", ["a#1.jpg", "a?.jpg", "a%41.jpg", "a/b.jpg", "..", ".a", "现场.jpg", "", "x" * 65])
def test_a_name_that_the_server_would_not_take_is_told_at_once(name: str) -> None:
    with pytest.raises(ValueError, match="letters"):
        phone_with_file(name)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("1.jpg", "1.jpg"),
        ("现场 1.jpg", "___1.jpg"),
        ("IMG#1.JPG", "IMG_1.JPG"),
        (f"{'x' * 90}.jpg", f"{'x' * 60}.jpg"),
    ],
)
def test_a_files_own_name_is_put_into_letters_that_the_server_takes(file: str, name: str) -> None:
    assert _name_of(Path("/phone") / file) == name


async def test_a_stored_photo_takes_no_room_on_the_device() -> None:
    phone = phone_with_file("1.jpg")

    await phone.deliver()

    kept = phone.store.execute("SELECT state, length(body) FROM steps WHERE kind = 'attachment'").fetchall()
    assert [tuple(row) for row in kept] == [("stored", 0)]


async def test_an_id_in_capitals_is_the_same_id() -> None:
    phone = phone_of(Moody())
    given = new_id()

    assert phone.outbox.put(report(id=str(given).upper()), urgent=True) == str(given)
    await phone.deliver()

    assert phone.outbox.report(str(given))["state"] == "stored"


async def test_a_late_conflict_leaves_alone_what_was_settled_meanwhile() -> None:
    phone = phone_of(Moody())
    report_id = phone.outbox.put(report())
    await phone.deliver()
    phone.outbox.correct(report_id, {"summary": "【演练】甲"})
    (step,) = phone.outbox.due(NOON, most=1)
    told = {**problem(409, "version_conflict"), "stored": {**report(UUID(report_id)), "version": 2}}
    settling.conflict(phone.store, step, told)
    phone.outbox.correct(report_id, {"summary": "【演练】乙"}, onto=told["stored"])

    settling.conflict(phone.store, step, told)

    assert phone.outbox.report(report_id)["steps"][-1]["state"] == "waiting"


async def test_a_refused_detail_or_photo_is_what_somebody_has_to_look_at() -> None:
    phone = phone_of(Moody())
    report_id = phone.outbox.put(report())
    await phone.deliver()
    phone.outbox.correct(report_id, {"summary": "【演练】甲"})
    (step,) = phone.outbox.due(NOON, most=1)
    settling.refused(phone.store, step, problem(422, "invalid"))
    assert _state(phone.outbox.report(report_id)) == "refused"

    phone.outbox.correct(report_id, {"summary": "【演练】乙"})
    await phone.deliver()
    assert _state(phone.outbox.report(report_id)) == "stored"


def test_on_a_full_disk_nothing_is_kept_by_half(tmp_path: Path) -> None:
    store = open_store(tmp_path / "phone.db")
    outbox = Outbox(store, clock=ManualClock(NOON))
    pages = store.execute("PRAGMA page_count").fetchone()[0]
    store.execute(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(Exception, match="full"):
        outbox.put(report(description="【演练】" * 2000))

    assert outbox.reports() == []
