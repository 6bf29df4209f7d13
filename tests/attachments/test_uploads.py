"""Photos over bad links: resumed by name and digest, stored once, whole or not at all."""

import asyncio
from hashlib import sha256
from itertools import pairwise
from random import Random
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.attachments import media, service
from app.attachments.models import Attachment
from app.attachments.store import Store
from app.core import problems
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.errors import Problem
from app.core.ids import new_id
from tests.attachments.sending import GPS, As, Phone, Posted, exif, noise, opened, path, picture, repr_digest, sound
from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    NEIGHBOUR,
    OTHER_CITY,
    OTHER_TOWN,
    TOWN,
    VILLAGE,
    report,
)
from tests.tables import rows

pytestmark = pytest.mark.anyio

# Where the database does not matter.
on_one_database = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)

PHOTO = picture((120, 80), exif=exif())
LIMITS = media.Limits(pixels=1_000_000, longest_side=200, seconds=3)
WHOLE = sha256(media.remake(PHOTO, LIMITS).data).hexdigest()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_a_photo_is_stored_whole_and_made_anew(phone: Phone, posted: Posted, database: Database) -> None:
    sent = await posted()

    answer = await phone.send(sent["id"], "a.jpg", PHOTO, Content_Type="image/jpeg")

    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == f"/v1/reports/{sent['id']}/attachments/a.jpg"
    assert answer.headers["Upload-Offset"] == str(len(PHOTO))
    found = answer.json()
    assert found["state"] == "stored"
    assert found["filed_by"] == VILLAGE
    assert (found["width"], found["height"]) == (80, 120)
    assert found["sha256"] != found["stored_sha256"]
    assert await phone.list(sent["id"]) == [found]
    read = await phone.read(sent["id"], "a.jpg")
    assert read.status_code == 200
    assert len(read.content) == found["stored_size"]
    assert GPS in PHOTO
    assert GPS not in read.content
    assert opened(read.content).size == (80, 120)


@on_one_database
async def test_what_is_read_is_a_file_to_be_saved(phone: Phone, posted: Posted) -> None:
    sent = await posted()
    stored = (await phone.send(sent["id"], "page.html", PHOTO)).json()

    read = await phone.read(sent["id"], "page.html")

    assert read.headers["Content-Type"] == "image/jpeg"
    assert read.headers["Content-Disposition"] == 'attachment; filename="page.jpg"'
    assert read.headers["X-Content-Type-Options"] == "nosniff"
    assert read.headers["Cache-Control"] == "private, no-cache"
    assert read.headers["ETag"] == f'"{stored["stored_sha256"]}"'
    again = await phone.read(sent["id"], "page.html", **{"If-None-Match": read.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_the_same_file_sent_again_is_stored_once(phone: Phone, posted: Posted, database: Database) -> None:
    sent = await posted()
    first = await phone.send(sent["id"], "a.jpg", PHOTO)

    second = await phone.send(sent["id"], "a.jpg", PHOTO)

    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json()
    assert len(await rows(database, Attachment)) == 1
    assert len(await changes(phone)) == 1


async def test_two_slots_may_hold_the_same(phone: Phone, posted: Posted) -> None:
    sent, other = await posted(), await posted()

    answers = [
        await phone.send(sent["id"], "a.jpg", PHOTO),
        await phone.send(sent["id"], "b.jpg", PHOTO),
        await phone.send(other["id"], "a.jpg", PHOTO),
    ]

    assert [answer.status_code for answer in answers] == [201] * 3
    assert [one["name"] for one in await phone.list(sent["id"])] == ["a.jpg", "b.jpg"]
    read = [await phone.read(sent["id"], "a.jpg"), await phone.read(sent["id"], "b.jpg")]
    assert read[0].content == read[1].content


async def test_an_upload_goes_on_where_it_stopped(phone: Phone, posted: Posted, store: Store) -> None:
    sent = await posted()
    first = await phone.send(sent["id"], "a.jpg", PHOTO, part=(0, 300))
    assert first.status_code == 202
    assert first.headers["Upload-Offset"] == "300"
    assert (first.json()["received"], first.json()["size"], first.json()["state"]) == (300, len(PHOTO), "uploading")

    head = await phone.client.head(path(sent["id"], "a.jpg"), headers=phone.headers)
    assert head.headers["Upload-Offset"] == "300"
    assert head.headers["Upload-Length"] == str(len(PHOTO))
    assert head.headers["Upload-State"] == "uploading"
    (listed,) = await phone.list(sent["id"])
    assert listed["received"] == 300
    assert (await phone.read(sent["id"], "a.jpg")).status_code == 404
    last = await phone.send(sent["id"], "a.jpg", PHOTO, part=(300, len(PHOTO)))

    assert last.status_code == 201
    whole = await phone.send(sent["id"], "whole.jpg", PHOTO)
    assert last.json()["stored_sha256"] == whole.json()["stored_sha256"]
    assert await store.names("uploads") == []


async def test_a_part_that_comes_twice_is_no_failure(phone: Phone, posted: Posted) -> None:
    sent = await posted()
    await phone.send(sent["id"], "a.jpg", PHOTO, part=(0, 300))

    for part in ((0, 300), (100, 300), (0, 100)):
        again = await phone.send(sent["id"], "a.jpg", PHOTO, part=part)
        assert (again.status_code, again.json()["received"]) == (202, 300), part
    overlapping = await phone.send(sent["id"], "a.jpg", PHOTO, part=(200, 400))
    assert overlapping.json()["received"] == 400
    # The whole, once more: what is new of it is taken.
    assert (await phone.send(sent["id"], "a.jpg", PHOTO)).status_code == 201


@on_one_database
async def test_a_part_that_leaves_a_hole_is_told_where_to_go_on(phone: Phone, posted: Posted) -> None:
    sent = await posted()
    await phone.send(sent["id"], "a.jpg", PHOTO, part=(0, 300))

    answer = await phone.send(sent["id"], "a.jpg", PHOTO, part=(301, 400))

    assert code(answer) == (409, "offset_wrong")
    assert answer.json()["received"] == 300


@on_one_database
async def test_what_arrived_before_the_link_dropped_is_kept(
    phone: Phone, posted: Posted, app: FastAPI, as_: As
) -> None:
    data = noise((700, 700))
    sent = await posted()
    arrived = [data[: len(data) // 2], None]

    async def receive() -> dict[str, Any]:
        body = arrived.pop(0)
        if body is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": body, "more_body": True}

    async def answer(message: object) -> None:
        raise AssertionError("nobody is there to be answered")

    headers = phone.headers | {"Repr-Digest": repr_digest(data), "Content-Length": str(len(data))}
    where = path(sent["id"], "a.png")
    scope = {
        "type": "http",
        "method": "PUT",
        "path": where,
        "raw_path": where.encode(),
        "query_string": b"",
        "headers": [(key.lower().encode(), value.encode()) for key, value in headers.items()],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("beacon.test", 80),
        "root_path": "",
    }
    await app(scope, receive, answer)

    (listed,) = await phone.list(sent["id"])
    assert listed["received"] == len(data) // 2
    rest = await phone.send(sent["id"], "a.png", data, part=(len(data) // 2, len(data)))
    assert rest.status_code == 201, rest.text


@on_one_database
async def test_a_file_larger_than_a_piece_is_whole(phone: Phone, posted: Posted) -> None:
    data = noise((1000, 1000)) + b"\0" * service.PIECE * 2
    sent = await posted()

    assert (await phone.send(sent["id"], "a.png", data)).status_code == 201


async def test_a_name_that_is_taken_by_another_file_is_refused(
    phone: Phone, posted: Posted, clock: ManualClock
) -> None:
    other = picture((50, 50))
    sent = await posted()
    await phone.send(sent["id"], "stored.jpg", PHOTO)
    await phone.send(sent["id"], "begun.jpg", PHOTO, part=(0, 300))

    for name in ("stored.jpg", "begun.jpg"):
        assert code(await phone.send(sent["id"], name, other)) == (409, "attachment_conflict")
    clock.advance(service.GIVES_WAY)

    assert code(await phone.send(sent["id"], "stored.jpg", other)) == (409, "attachment_conflict")
    replaced = await phone.send(sent["id"], "begun.jpg", other)
    assert replaced.status_code == 201
    assert (replaced.json()["width"], replaced.json()["height"]) == (50, 50)


async def test_a_wrong_digest_empties_the_slot_and_the_file_can_be_sent_again(
    phone: Phone, posted: Posted, store: Store
) -> None:
    sent = await posted()
    damaged = PHOTO[:-50] + bytes(50)
    await phone.send(sent["id"], "a.jpg", damaged, part=(0, 300), Repr_Digest=repr_digest(PHOTO))

    answer = await phone.send(sent["id"], "a.jpg", damaged, part=(300, len(PHOTO)), Repr_Digest=repr_digest(PHOTO))

    assert code(answer) == (422, "digest_wrong")
    assert answer.json()["received"] == 0
    assert (await phone.list(sent["id"]))[0]["received"] == 0
    assert await store.names("uploads") == []
    assert (await phone.send(sent["id"], "a.jpg", PHOTO)).status_code == 201
    assert len(await changes(phone)) == 1


UNFIT = [
    (b"<html><script>alert(1)</script></html>", 415, "attachment_type"),
    (b"\0\0\0\x18ftypheic" + bytes(100), 415, "attachment_type"),
    (b"abc", 415, "attachment_type"),
    (PHOTO[:400], 422, "attachment_broken"),
    (picture((1001, 1000)), 422, "photo_too_large"),
    (sound(3.5), 422, "recording_too_long"),
]


@on_one_database
async def test_what_cannot_be_stored_leaves_nothing(phone: Phone, posted: Posted, store: Store) -> None:
    sent = await posted()

    for data, status, said in UNFIT:
        for language in ("en", "zh-CN"):
            answer = await phone.send(sent["id"], "a", data, Accept_Language=language)
            assert code(answer) == (status, said)
            assert "{" not in answer.json()["detail"]
        assert await phone.list(sent["id"]) == []
        assert await store.names("uploads") == []

    assert await store.names("stored") == []
    # The slot is free for what can.
    assert (await phone.send(sent["id"], "a", PHOTO)).status_code == 201


@on_one_database
async def test_a_recording_is_stored(phone: Phone, posted: Posted) -> None:
    sent = await posted()

    stored = await phone.send(sent["id"], "voice.wav", sound(2), Content_Type="audio/wav")

    assert stored.status_code == 201
    assert (stored.json()["content_type"], stored.json()["width"]) == ("audio/wav", None)
    assert (await phone.read(sent["id"], "voice.wav")).content == sound(2)


async def test_size_and_count_have_limits(phone: Phone, posted: Posted) -> None:
    sent = await posted()
    most = 4 * 1024 * 1024

    too_large = await phone.send(sent["id"], "a.jpg", bytes(most + 1))
    claimed = await phone.send(sent["id"], "a.jpg", PHOTO, Content_Range=f"bytes 0-{len(PHOTO) - 1}/{most + 1}")
    for name in ("a", "b", "c"):
        await phone.send(sent["id"], name, PHOTO, part=(0, 300))
    full = await phone.send(sent["id"], "d", PHOTO)

    assert code(too_large) == code(claimed) == (413, "body_too_large")
    assert code(full) == (409, "attachments_full")
    assert "3" in full.json()["detail"]
    assert (await phone.send(sent["id"], "a", PHOTO)).status_code == 201


@on_one_database
async def test_a_body_longer_or_shorter_than_its_range_is_refused(phone: Phone, posted: Posted) -> None:
    sent = await posted()

    async def body(length: int) -> Any:
        yield PHOTO[:length]

    for length in (299, 301):
        headers = {"Repr-Digest": repr_digest(PHOTO), "Content-Range": f"bytes 0-299/{len(PHOTO)}"}
        answer = await phone.client.put(path(sent["id"], "a"), content=body(length), headers=phone.headers | headers)
        assert code(answer) == (400, "content_range_wrong")
    assert (await phone.list(sent["id"]))[0]["received"] == 0


DOORS = [
    (VILLAGE, "reporter", True),
    (TOWN, "desk", True),
    (CITY, "supervisor", True),
    (NEIGHBOUR, "reporter", False),
    (OTHER_TOWN, "desk", False),
    (FAR_VILLAGE, "reporter", False),
    (OTHER_CITY, "supervisor", False),
]


async def test_one_door_for_all(phone: Phone, posted: Posted, as_: As) -> None:
    sent = await posted()
    await phone.send(sent["id"], "a.jpg", PHOTO)

    for node, role, sees in DOORS:
        other = Phone(phone.client, as_(node, role))
        put = await other.send(sent["id"], "b.jpg", PHOTO)
        read = await other.read(sent["id"], "a.jpg")
        listed = await other.client.get(f"/v1/reports/{sent['id']}/attachments", headers=other.headers)
        head = await other.client.head(path(sent["id"], "a.jpg"), headers=other.headers)

        expected = ({200, 201}, 200, 200, 204) if sees else ({404}, 404, 404, 404)
        assert put.status_code in expected[0], node
        assert (read.status_code, listed.status_code, head.status_code) == expected[1:], node


@on_one_database
async def test_a_key_needs_its_scopes(phone: Phone, posted: Posted, as_: As) -> None:
    sent = await posted()
    await phone.send(sent["id"], "a.jpg", PHOTO)

    async def key(*scopes: str) -> Phone:
        body = {"label": "gateway", "node": CITY, "scopes": list(scopes)}
        made = await phone.client.post("/v1/keys", json=body, headers=as_(CITY, "admin"))
        assert made.status_code == 201, made.text
        return Phone(phone.client, {"Authorization": f"Bearer {made.json()['key']}"})

    reader, writer = await key("reports:read"), await key("reports:write")

    assert code(await reader.send(sent["id"], "b.jpg", PHOTO)) == (403, "scope_missing")
    assert (await reader.read(sent["id"], "a.jpg")).status_code == 200
    assert (await writer.send(sent["id"], "b.jpg", PHOTO)).status_code == 201
    assert code(await writer.read(sent["id"], "a.jpg")) == (403, "scope_missing")
    nobody = Phone(phone.client, {})
    assert code(await nobody.send(sent["id"], "b.jpg", PHOTO)) == (401, "sign_in_required")


@on_one_database
async def test_a_report_that_is_not_stored_has_no_attachments(phone: Phone) -> None:
    assert code(await phone.send(str(new_id()), "a.jpg", PHOTO)) == (404, "not_found")


async def test_the_village_and_the_desks_hear_of_it_and_others_do_not(phone: Phone, posted: Posted, as_: As) -> None:
    sent = await posted(**EXTREME)
    stored = (await phone.send(sent["id"], "a.jpg", PHOTO)).json()

    for node, role in ((VILLAGE, "reporter"), (TOWN, "desk"), (CITY, "desk")):
        (change,) = await changes(Phone(phone.client, as_(node, role)))
        assert change["report"]["id"] == sent["id"]
        assert change["report"]["attachment"] == stored
    for node in (NEIGHBOUR, OTHER_TOWN, OTHER_CITY):
        assert await changes(Phone(phone.client, as_(node, "desk"))) == []


async def test_when_killed_before_the_last_write_sending_again_ends_there(
    phone: Phone, posted: Posted, database: Database, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    sent = await posted()

    class Killed(Exception):
        pass

    async def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(service, "_announce", killed)
        assert (await phone.send(sent["id"], "a.jpg", PHOTO)).status_code == 500
    # The object is there; what holds is the row.
    assert len(await store.names("stored")) == 1
    (row,) = await rows(database, Attachment)
    assert (row.state, row.received) == ("uploading", len(PHOTO))
    assert (await phone.read(sent["id"], "a.jpg")).status_code == 404
    assert await changes(phone) == []

    again = await phone.send(sent["id"], "a.jpg", PHOTO, part=(len(PHOTO) - 100, len(PHOTO)))

    assert again.status_code == 201
    assert (await phone.read(sent["id"], "a.jpg")).status_code == 200
    assert len(await changes(phone)) == 1
    assert len(await store.names("stored")) == 1
    assert await store.names("uploads") == []


@on_one_database
async def test_when_the_store_is_away_nothing_is_told_stored(
    phone: Phone, posted: Posted, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await posted()

    async def away(_self: Store, key: str, _data: bytes) -> None:
        raise Problem(problems.STORE_AWAY)

    with monkeypatch.context() as patched:
        patched.setattr(Store, "put", away)
        assert code(await phone.send(sent["id"], "a.jpg", PHOTO)) == (503, "store_away")

    assert (await phone.list(sent["id"]))[0]["received"] == 0
    assert (await phone.send(sent["id"], "a.jpg", PHOTO)).status_code == 201


@on_one_database
async def test_parts_that_the_store_has_lost_are_asked_for_again(phone: Phone, posted: Posted, store: Store) -> None:
    sent = await posted()
    await phone.send(sent["id"], "a.jpg", PHOTO, part=(0, 300))
    await store.delete([name for name, _ in await store.names("uploads")])

    answer = await phone.send(sent["id"], "a.jpg", PHOTO, part=(300, len(PHOTO)))

    assert (answer.status_code, answer.json()["received"]) == (202, 0)
    assert (await phone.send(sent["id"], "a.jpg", PHOTO)).status_code == 201


async def test_the_same_sent_by_many_at_once_is_stored_once(phone: Phone, posted: Posted, database: Database) -> None:
    sent = await posted()
    parts = [(0, 300), (0, 200), None, (0, 300), None]

    answers = await asyncio.gather(*(phone.send(sent["id"], "a.jpg", PHOTO, part=part) for part in parts))

    assert {answer.status_code for answer in answers} <= {200, 201, 202}
    assert [answer.status_code for answer in answers].count(201) == 1
    assert len(await changes(phone)) == 1
    assert len(await rows(database, Attachment)) == 1


async def test_names_sent_at_once_do_not_pass_the_count(phone: Phone, posted: Posted, database: Database) -> None:
    sent = await posted()

    answers = await asyncio.gather(*(phone.send(sent["id"], f"{name}.jpg", PHOTO) for name in range(6)))

    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 3
    assert len(await rows(database, Attachment)) == 3


async def test_an_attachment_of_a_drill_is_told_in_the_drill_alone(
    phone: Phone, as_: As, client: httpx.AsyncClient
) -> None:
    drill = await client.post("/v1/drills", json={"title": "【演练】防汛"}, headers=as_(TOWN, "supervisor"))
    assert drill.status_code == 201, drill.text
    body = report(drill_id=drill.json()["id"])
    await client.post("/v1/reports", json=body, headers=as_(VILLAGE, "reporter"))

    assert (await phone.send(body["id"], "a.jpg", PHOTO)).status_code == 201

    assert await changes(phone) == []
    assert len(await changes(phone, drill=drill.json()["id"])) == 1


SIZE = len(PHOTO)
PART = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(lambda part: (part[0], min(SIZE, sum(part))))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.sets(st.integers(1, SIZE - 1), max_size=4), stray=st.lists(PART, max_size=4), seed=st.integers(0, 10**6))
async def test_however_it_is_cut_and_shuffled_the_same_is_stored(
    cuts: set[int], stray: list[tuple[int, int]], seed: int, phone: Phone
) -> None:
    body = report()
    await phone.client.post("/v1/reports", json=body, headers=phone.headers)
    whole = list(pairwise([0, *sorted(cuts), SIZE]))
    order = [*whole, *stray]
    Random(seed).shuffle(order)

    received = 0
    for part in [*order, *whole, *whole]:
        answer = await phone.send(body["id"], "a.jpg", PHOTO, part=part)
        if answer.status_code in (200, 201):
            break
        expected = 409 if part[0] > received else 202
        received = max(received, part[1]) if expected == 202 else received
        assert (answer.status_code, answer.json()["received"]) == (expected, received)

    (stored,) = await phone.list(body["id"])
    assert stored["state"] == "stored"
    assert stored["stored_sha256"] == WHOLE
    assert len([change for change in await changes(phone) if change["report"]["id"] == body["id"]]) == 1


async def changes(phone: Phone, **params: str) -> list[dict[str, Any]]:
    """What the caller hears of attachments."""
    answer = await phone.client.get("/v1/reports/changes", params={"limit": "500"} | params, headers=phone.headers)
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json()["results"] if one["type"] == "report.attached"]
