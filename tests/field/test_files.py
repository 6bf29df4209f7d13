from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from app.attachments.store import open_store
from app.core.clock import ManualClock
from app.core.settings import Settings
from tests.attachments.sending import noise, picture
from tests.builders import EXTREME, VILLAGE, report
from tests.conftest import token_of
from tests.field.devices import Device, device
from tests.field.links import Faults

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"attachments_url": (tmp_path / "attachments").as_uri()})


def phone_of(app: FastAPI, settings: Settings, clock: ManualClock, *, faults: Faults, seed: int = 0) -> Device:
    app.state.attachments = open_store(settings)
    server = httpx.ASGITransport(app, raise_app_exceptions=False)
    return device(server, clock=clock, session=token_of(VILLAGE, "reporter"), faults=faults, seed=seed)


async def names_of(phone: Device, report_id: str) -> list[tuple[str, str, int]]:
    answer = await phone.courier.client.get(
        f"/v1/reports/{report_id}/attachments", headers=phone.courier.session.headers()
    )
    return [(one["name"], one["state"], one["size"]) for one in answer.json()["items"]]


async def test_a_photo_arrives_whole_over_a_link_that_loses_pieces_and_answers(
    app: FastAPI, settings: Settings, clock: ManualClock
) -> None:
    phone = phone_of(app, settings, clock, faults=Faults(drop_request=0.1, drop_answer=0.15, duplicate=0.1))
    photo = noise((500, 500))
    assert len(photo) > 6 * phone.courier.chunk
    report_id = phone.outbox.put(report())
    phone.outbox.attach(report_id, "1.png", photo, media_type="image/png")

    await phone.deliver()

    assert {"drop_request", "drop_answer"} <= set(phone.link.befell)
    assert [step["state"] for step in phone.outbox.report(report_id)["steps"]] == ["stored", "stored"]
    phone.link.faults = Faults()
    assert await names_of(phone, report_id) == [("1.png", "stored", len(photo))]


async def test_photos_go_when_nothing_else_waits_and_an_urgent_report_overtakes_one_under_way(
    app: FastAPI, settings: Settings, clock: ManualClock
) -> None:
    phone = phone_of(app, settings, clock, faults=Faults())
    with_photo = phone.outbox.put(report())
    phone.outbox.attach(with_photo, "1.png", noise((300, 300)), media_type="image/png")
    later = phone.outbox.put(report())

    await phone.courier.step()
    await phone.courier.step()
    states = [phone.outbox.report(one)["steps"][-1]["state"] for one in (with_photo, later)]
    assert states == ["waiting", "stored"]
    urgent = phone.outbox.put(report(**EXTREME), urgent=True)
    await phone.courier.step()
    assert phone.outbox.report(urgent)["state"] == "stored"
    await phone.deliver()

    assert phone.outbox.waiting() == 0


async def test_a_file_that_is_none_is_refused_and_the_report_stays(
    app: FastAPI, settings: Settings, clock: ManualClock
) -> None:
    phone = phone_of(app, settings, clock, faults=Faults())
    report_id = phone.outbox.put(report())
    phone.outbox.attach(report_id, "1.png", b"MZ" + bytes(4000), media_type="image/png")
    phone.outbox.attach(report_id, "2.png", picture(kind="PNG"), media_type="image/png")
    with pytest.raises(ValueError, match=r"2\.png"):
        phone.outbox.attach(report_id, "2.png", picture(), media_type="image/png")

    await phone.deliver()

    found = phone.outbox.report(report_id)
    assert (found["state"], [step["state"] for step in found["steps"]]) == ("stored", ["stored", "refused", "stored"])
    assert found["steps"][1]["answer"]["code"] == "attachment_type"
