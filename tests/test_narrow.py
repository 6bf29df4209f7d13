"""What is told to nobody who need not know it: who acted, what others have, what a narrow sign-in may not read."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.core.caller import Caller, may_know_person
from app.core.database import DatabaseAway
from app.deliveries.reading import scopes_of
from tests.accounts.people import bearer, create_key
from tests.alerts.acts import act
from tests.alerts.test_polling import raise_alert
from tests.builders import (
    CITY,
    FAR_VILLAGE,
    OTHER_CITY,
    OTHER_CITY_TOWN,
    OTHER_CITY_VILLAGE,
    OTHER_TOWN,
    TOWN,
    VILLAGE,
    report,
)

As = Callable[[str, str], dict[str, str]]
HOOK = "https://gateway.example/beacon"


async def key_of(client: httpx.AsyncClient, node: str, *scopes: str) -> dict[str, str]:
    made = await create_key(client, node=node, scopes=list(scopes))
    assert made.status_code == 201, made.text
    return bearer(made.json()["key"])


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("pattern", "scope"),
    [
        ("alert.*", "alerts:read"),
        ("alert.raised", "alerts:read"),
        ("report.*", "reports:read"),
        ("incident.*", "reports:read"),
        ("rollcall.*", "reports:read"),
        ("silence.found", "reports:read"),
        ("alarm.raised", "alerts:read"),
        ("drill.*", "alerts:read"),
    ],
)
@pytest.mark.parametrize("kind", ["webhooks", "channels"])
async def test_a_receiver_needs_the_reading_scope_of_its_topics_from_who_makes_it(
    client: httpx.AsyncClient, as_: As, pattern: str, scope: str, kind: str
) -> None:
    narrow, wide = [await key_of(client, CITY, "accounts:admin", *more) for more in ((), (scope,))]
    url = HOOK if kind == "webhooks" else "dingtalk://quicktokentoken"
    body = {"label": "gateway", "url": url, "events": [pattern]}

    refused = await client.post(f"/v1/{kind}", json=body, headers=narrow)
    everything = await client.post(f"/v1/{kind}", json=body | {"events": ["*"]}, headers=wide)
    made = await client.post(f"/v1/{kind}", json=body, headers=wide)

    assert (refused.status_code, refused.json()["code"]) == (403, "scopes_too_wide")
    assert scope in refused.json()["detail"]
    assert everything.status_code == 403
    assert made.status_code == 201, made.text


@pytest.mark.anyio
async def test_what_a_narrow_key_may_not_hear_it_neither_changes_nor_reads_nor_ends(
    client: httpx.AsyncClient, as_: As
) -> None:
    narrow = await key_of(client, CITY, "accounts:admin")
    without = await client.post("/v1/webhooks", json={"label": "gateway", "url": HOOK}, headers=narrow)
    own = await client.post(
        "/v1/webhooks", json={"label": "gateway", "url": HOOK, "events": ["receiver.disabled"]}, headers=narrow
    )
    made = await client.post("/v1/webhooks", json={"label": "gateway", "url": HOOK}, headers=as_(CITY, "admin"))
    hook = f"/v1/webhooks/{made.json()['id']}"
    sent = (await client.post(f"{hook}/test", headers=as_(CITY, "admin"))).json()

    # None given are those of alerts.
    assert without.status_code == 403
    assert own.status_code == 201
    widened = await client.patch(f"/v1/webhooks/{own.json()['id']}", json={"events": ["report.*"]}, headers=narrow)
    emptied = await client.patch(f"/v1/webhooks/{own.json()['id']}", json={"events": []}, headers=narrow)
    assert [widened.status_code, emptied.status_code] == [403, 403]
    tried = [
        await client.patch(hook, json={"label": "other"}, headers=narrow),
        await client.patch(hook, json={"events": ["receiver.disabled"]}, headers=narrow),
        await client.post(f"{hook}/rotate", headers=narrow),
        await client.post(f"{hook}/test", headers=narrow),
        await client.post(f"{hook}/deliveries/{sent['id']}/replay", headers=narrow),
        await client.delete(hook, headers=narrow),
    ]
    assert [(one.status_code, one.json()["code"]) for one in tried] == [(403, "scopes_too_wide")] * len(tried)
    # That it is there, an administrator may know.
    assert (await client.get(hook, headers=narrow)).json()["label"] == "gateway"


@given(
    st.lists(st.sampled_from(["*", "alert.*", "report.received", "incident.*", "other.*", "x.y", "warning.*"])),
    st.lists(st.sampled_from(["*", "alert.*", "drill.*", "rollcall.due"])),
)
def test_more_topics_never_need_less(some: list[str], more: list[str]) -> None:
    assert scopes_of(some) <= scopes_of([*some, *more]) or not some
    assert scopes_of([*some, "*"]) >= {"reports:read", "alerts:read", "warnings:read"}


@pytest.mark.anyio
async def test_a_narrow_key_makes_and_revokes_none_that_may_do_more(client: httpx.AsyncClient, as_: As) -> None:
    narrow = await key_of(client, CITY, "accounts:admin", "reports:read")
    wide = (await create_key(client, node=CITY, scopes=["reports:read", "alerts:act"])).json()
    like = (await create_key(client, node=TOWN, scopes=["reports:read"])).json()

    made = await create_key(client, node=CITY, scopes=["alerts:act"], headers=narrow)
    revoked = [(await client.delete(f"/v1/keys/{key['id']}", headers=narrow)).status_code for key in (wide, like)]

    assert made.status_code == 403
    assert revoked == [403, 204]
    assert (await client.get("/v1/me", headers=bearer(wide["key"]))).status_code == 200
    assert (await client.delete(f"/v1/keys/{wide['id']}", headers=as_(CITY, "admin"))).status_code == 204


@pytest.mark.anyio
@pytest.mark.parametrize(("owner", "told_to"), [(VILLAGE, {VILLAGE, TOWN}), (TOWN, {TOWN, CITY}), (CITY, {CITY})])
async def test_who_acted_is_told_to_people_of_that_office_and_the_one_above_alone(
    app: FastAPI, client: httpx.AsyncClient, as_: As, owner: str, told_to: set[str]
) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    taken = await act(client, as_(owner, "desk"), alert, "acknowledge")
    assert taken.json()["owner"]["label"] == f"desk-{owner}"

    for node in (VILLAGE, TOWN, CITY):
        key = await key_of(client, node, "reports:read", "alerts:read", "alerts:act", "interop:read")
        for is_person, headers in ((True, as_(node, "desk")), (False, key)):
            texts = [
                (await client.get(path, headers=headers)).text
                for path in (
                    "/v1/alerts",
                    f"/v1/alerts/{alert}",
                    "/v1/alerts/changes",
                    f"/v1/alerts/{alert}/timeline",
                    "/v1/reports",
                    "/v1/reports/changes",
                    "/v1/incidents",
                )
            ]
            acts = [(await act(client, headers, alert, "acknowledge")).text]
            named = [f"desk-{owner}" in text for text in texts]
            knows = is_person and node in told_to
            assert named == [knows, knows, knows, False, False, False, False], (node, is_person)
            assert f"desk-{owner}" not in acts[0] or knows
            assert owner in acts[0]


@pytest.mark.anyio
async def test_what_had_been_told_before_is_told_narrower_too(client: httpx.AsyncClient, as_: As) -> None:
    """After an alert was raised again, who had it is named as narrowly."""
    alert = (await raise_alert(client, as_))["alert_id"]
    await act(client, as_(VILLAGE, "desk"), alert, "acknowledge")
    await client.post(
        "/v1/reports",
        json=report(severity="Extreme", urgency="Immediate", certainty="Observed"),
        headers=as_(TOWN, "desk"),
    )

    for node in (CITY, TOWN):
        for path in ("/v1/alerts", "/v1/alerts/changes"):
            text = (await client.get(path, headers=as_(node, "desk"))).text
            assert (f"desk-{VILLAGE}" in text) == (node == TOWN), path


@pytest.mark.anyio
async def test_a_key_is_never_told_whose_account_filed_a_report(client: httpx.AsyncClient, as_: As) -> None:
    stored = (await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))).json()
    assert stored["account_id"]

    for node in (VILLAGE, TOWN, CITY):
        key = await key_of(client, node, "reports:read", "alerts:read")
        for path in (f"/v1/reports/{stored['id']}", "/v1/reports", "/v1/reports/changes"):
            answer = await client.get(path, headers=key)
            assert answer.status_code == 200
            assert stored["account_id"] not in answer.text, (node, path)


@pytest.mark.anyio
async def test_a_resend_by_a_key_of_the_office_is_not_told_the_account(client: httpx.AsyncClient, as_: As) -> None:
    body = report()
    stored = (await client.post("/v1/reports", json=body, headers=as_(VILLAGE, "reporter"))).json()
    key = await key_of(client, VILLAGE, "reports:read", "reports:write")

    again = await client.post("/v1/reports", json=body, headers=key)

    assert again.status_code == 200
    assert stored["account_id"] not in again.text


@given(
    person=st.booleans(),
    node=st.sampled_from(["c", "t", "v", "o"]),
    office=st.sampled_from(["c", "t", "v"]),
)
def test_a_person_is_known_at_the_office_and_above_it(person: bool, node: str, office: str) -> None:
    above = {"c": None, "t": "c", "v": "t"}[office]

    caller = Caller("c", node, "town", frozenset(), "", account_id=UUID(int=1) if person else None)
    expected = person and (node, office) in {("c", "c"), ("c", "t"), ("t", "t"), ("t", "v"), ("v", "v")}
    assert may_know_person(caller, office=office, above=above) == expected


@pytest.mark.anyio
async def test_an_import_tells_nothing_of_what_lies_outside(client: httpx.AsyncClient, as_: As) -> None:
    async def rows(text: str, node: str) -> tuple[list[Any], list[Any]]:
        answer = await client.post(
            "/v1/nodes/import?mode=validate",
            content="code,name,tier,parent_code\n" + text,
            headers=as_(node, "admin") | {"Content-Type": "text/csv"},
        )
        body = answer.json()
        shown = [{**row, "node": "", "message": row["message"].replace(gone, "")} for row in body["errors"]]
        return body["rows"], [{key: value for key, value in row.items() if key != "message_zh"} for row in shown]

    # What another city has is answered as what is nowhere.
    gone = OTHER_CITY_TOWN
    there = await rows(f"v-1,村,village,{gone}\n", CITY)
    gone = "t-404"
    nowhere = await rows(f"v-1,村,village,{gone}\n", CITY)
    assert there == nowhere

    # Of a code that is not free only that: not its tier, its city, or whether it is closed.
    gone = ""
    taken = [
        await rows(f"{code},村,{tier},{parent}\n", CITY)
        for code, tier, parent in (
            (OTHER_CITY_VILLAGE, "village", TOWN),
            (OTHER_CITY_TOWN, "village", TOWN),
            (OTHER_CITY_TOWN, "town", CITY),
            (OTHER_CITY, "town", CITY),
        )
    ]
    assert all(one == taken[0] for one in taken)
    assert taken[0][0] == []
    assert [error["code"] for error in taken[0][1]] == ["outside"]

    # A town is answered of another town's village as of another city's, and with no word of how it is called.
    assert await rows(f"{FAR_VILLAGE},北关社区,village,{TOWN}\n", TOWN) == await rows(
        f"{OTHER_CITY_VILLAGE},x,village,{TOWN}\n", TOWN
    )
    assert await rows(f"{FAR_VILLAGE},北关社区,village,{OTHER_TOWN}\n", TOWN) == await rows(
        f"v-404,x,village,{OTHER_TOWN}\n", TOWN
    )


@pytest.mark.anyio
async def test_making_what_is_not_free_does_not_tell_where_it_is(client: httpx.AsyncClient, as_: As) -> None:
    made = [
        await client.post(
            "/v1/nodes",
            json={"code": code, "name": "新村", "tier": "village", "parent": TOWN},
            headers=as_(TOWN, "admin"),
        )
        for code in (VILLAGE, FAR_VILLAGE, OTHER_CITY_VILLAGE, OTHER_CITY)
    ]
    users = [
        await client.post(
            "/v1/accounts",
            json={"username": f"reporter-{node}", "role": "reporter", "node": VILLAGE},
            headers=as_(TOWN, "admin"),
        )
        for node in (VILLAGE, FAR_VILLAGE, OTHER_CITY_VILLAGE)
    ]

    said = {(one.status_code, one.json()["detail"].replace(one.json()["detail"].split()[2], "")) for one in made}
    assert len(said) == 1
    assert "exist" not in str(said)
    assert len({(one.status_code, one.text) for one in users}) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("error", [RuntimeError("secret"), DatabaseAway()])
async def test_no_line_of_a_failure_has_the_path_that_was_asked(
    app: FastAPI, client: httpx.AsyncClient, as_: As, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("app.nodes.listing.get_node", fail)
    with capture_logs() as lines:
        for headers in (as_(VILLAGE, "reporter"), {}):
            await client.get(f"/v1/nodes/{VILLAGE}", headers=headers)
            await client.head(f"/v1/nodes/{VILLAGE}", headers=headers)

    assert {line["route"] for line in lines} == {"/v1/nodes/{code}"}
    assert VILLAGE not in str(lines)
