"""Who may act on what: every acting route, tried by every kind of office, against one table.

The thing is of a village, or of its town where no village has such. A route that is new fails here until it has a row.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.ids import new_id
from app.hazards import catalogue
from tests.attachments.sending import picture, repr_digest
from tests.builders import CITY, NEIGHBOUR, OTHER_CITY, OTHER_TOWN, THIRD, TOWN, URGENT, VILLAGE, report

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Sent = dict[str, Any]

# The office itself, its sibling, its parent, the town beside that, the city, another city.
OFFICES = (VILLAGE, NEIGHBOUR, TOWN, OTHER_TOWN, CITY, OTHER_CITY)


@dataclass(frozen=True, slots=True)
class World:
    """Makes what is acted on."""

    client: httpx.AsyncClient
    as_: As

    async def made(self, office: str, as_role: str, path: str, **body: Any) -> dict[str, Any]:
        """The answer of a POST that must pass."""
        answer = await self.client.post(path, json=body, headers=self.as_(office, as_role))
        assert answer.status_code < 300, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def report(self, by: str, **changes: Any) -> dict[str, Any]:
        """A report of the village, of an event apart for each office that tries."""
        # Another hazard for each, and too few words to be alike: no two are one incident.
        changes = {"hazard": HAZARDS[OFFICES.index(by)], "summary": f"【演练】{by[-6:]}号险情", **changes}
        return await self.made(VILLAGE, "desk", "/v1/reports", **report(**changes))


HAZARDS, OTHER_HAZARDS = list(catalogue.HAZARDS)[6:12], list(catalogue.HAZARDS)[-6:]

# What is sent for one try: path, and what httpx takes; `by` is the office that tries.
Prepare = Callable[[World, str], Awaitable[tuple[str, Sent]]]


def on_report(verb: str, body: Callable[[str], Sent]) -> Prepare:
    async def prepare(world: World, by: str) -> tuple[str, Sent]:
        made = await world.report(by, **URGENT)
        return f"/v1/reports/{made['id']}/{verb}", {"json": body(by)}

    return prepare


def on_alert(verb: str, **body: Any) -> Prepare:
    async def prepare(world: World, by: str) -> tuple[str, Sent]:
        made = await world.report(by, **URGENT)
        return f"/v1/alerts/{made['alert_id']}/{verb}", {"json": body}

    return prepare


def on_owned_alert(verb: str, **body: Any) -> Prepare:
    async def prepare(world: World, by: str) -> tuple[str, Sent]:
        made = await world.report(by, **URGENT)
        await world.made(TOWN, "desk", f"/v1/alerts/{made['alert_id']}/acknowledge")
        return f"/v1/alerts/{made['alert_id']}/{verb}", {"json": body}

    return prepare


def on_incident(verb: str, **body: Any) -> Prepare:
    async def prepare(world: World, by: str) -> tuple[str, Sent]:
        one = await world.report(by)
        sent = dict(body)
        if verb == "merge":
            sent["into"] = (await world.report(by, hazard=OTHER_HAZARDS[OFFICES.index(by)]))["incident_id"]
        if verb == "split":
            second = await world.report(by, incident_id=one["incident_id"])
            sent["reports"] = [second["id"]]
        if verb == "dismiss":
            # Of the halves of a split it was said before: whoever may say it, may again.
            second = await world.report(by, incident_id=one["incident_id"])
            parted = {"reports": [second["id"]], **REASON}
            made = await world.made(TOWN, "desk", f"/v1/incidents/{one['incident_id']}/split", **parted)
            sent["other"] = made["other"]["id"]
        if verb == "assign":
            sent["node"] = by
        return f"/v1/incidents/{one['incident_id']}/{verb}", {"json": sent}

    return prepare


def at(path: str, **body: Any) -> Prepare:
    async def prepare(world: World, by: str) -> tuple[str, Sent]:
        return path, {"json": body}

    return prepare


async def a_report(world: World, by: str) -> tuple[str, Sent]:
    return "/v1/reports", {"json": report(node=VILLAGE)}


async def a_batch(world: World, by: str) -> tuple[str, Sent]:
    return "/v1/reports/batch", {"json": {"reports": [report(node=VILLAGE)]}}


async def a_correction(world: World, by: str) -> tuple[str, Sent]:
    body = report(node=VILLAGE)
    await world.made(VILLAGE, "desk", "/v1/reports", **body)
    sent = body | {"summary": "【演练】更正"}
    return f"/v1/reports/{body['id']}", {"json": sent, "headers": {"If-Match": '"1"'}}


async def a_photo(world: World, by: str) -> tuple[str, Sent]:
    made, photo = await world.report(by), picture()
    headers = {"Repr-Digest": repr_digest(photo), "Content-Type": "application/octet-stream"}
    return f"/v1/reports/{made['id']}/attachments/a.jpg", {"content": photo, "headers": headers}


def on_held(verb: str) -> Prepare:
    async def prepare(world: World, by: str) -> tuple[str, Sent]:
        body = report(node=VILLAGE)
        answer = await world.client.post("/v1/reports", json=body, headers=world.as_(VILLAGE, "reporter"))
        assert answer.status_code == 202, answer.text
        return f"/v1/quarantine/{body['id']}/{verb}", {"json": {"note": "【演练】已核实"}}

    return prepare


async def a_drill_to_end(world: World, by: str) -> tuple[str, Sent]:
    made = await world.made(TOWN, "desk", "/v1/drills", title="【演练】转移")
    return f"/v1/drills/{made['id']}/end", {}


async def an_answer(world: World, by: str) -> tuple[str, Sent]:
    made = await world.made(TOWN, "desk", "/v1/rollcalls", question="【演练】有无险情？", due_minutes=30)
    return f"/v1/rollcalls/{made['id']}/answers", {"json": {"node": VILLAGE, "answer": "nothing"}}


def on_account(verb: str, method_body: Sent | None = None) -> Prepare:
    async def prepare(world: World, by: str) -> tuple[str, Sent]:
        name = f"u{new_id().hex[:20]}"
        made = await world.made(
            CITY, "admin", "/v1/accounts", username=name, node=TOWN, role="desk", password="drei Teiche am Rand"
        )
        return f"/v1/accounts/{made['id']}{verb}", method_body or {}

    return prepare


async def a_new_account(world: World, by: str) -> tuple[str, Sent]:
    sent = {"node": TOWN, "role": "desk", "password": "drei Teiche am Rand", "username": f"u{new_id().hex[:20]}"}
    return "/v1/accounts", {"json": sent}


async def a_key(world: World, by: str) -> tuple[str, Sent]:
    made = await world.made(CITY, "admin", "/v1/keys", node=TOWN, scopes=["alerts:read"], label="gateway")
    return f"/v1/keys/{made['id']}", {}


def on_receiver(kind: str, verb: str, **body: Any) -> Prepare:
    async def prepare(world: World, by: str) -> tuple[str, Sent]:
        made = await world.made(TOWN, "admin", f"/v1/{kind}", label="gateway", url=TARGETS[kind], events=["alert.*"])
        return f"/v1/{kind}/{made['id']}{verb}", {"json": body} if body else {}

    return prepare


# Names that never resolve (RFC 6761).
TARGETS = {"webhooks": "https://receiver.invalid/beacon", "channels": "barks://receiver.invalid/key"}


@dataclass(frozen=True, slots=True)
class Row:
    """One acting route: who tries, how, and the status that each of OFFICES gets."""

    way: str
    role: str
    prepare: Prepare
    answers: str
    what: str = ""


QUESTION = {"question": "【演练】水深多少？"}
REASON = {"reason": "【演练】同一险情"}
ROWS = [
    Row("POST /v1/reports", "reporter", a_report, "ok 422:node_unknown ok 422:node_unknown ok 422:node_unknown"),
    Row("POST /v1/reports/batch", "reporter", a_batch, "created rejected created rejected created rejected"),
    Row("PUT /v1/reports/{report_id}", "reporter", a_correction, "ok 404:not_found ok 404:not_found ok 404:not_found"),
    Row(
        "PUT /v1/reports/{report_id}/attachments/{name}",
        "reporter",
        a_photo,
        "ok 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/reports/{report_id}/acknowledge",
        "desk",
        on_report("acknowledge", lambda by: {}),
        "409:custody_elsewhere 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/reports/{report_id}/return",
        "desk",
        on_report("return", lambda by: QUESTION),
        "409:custody_elsewhere 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/reports/{report_id}/forward",
        "desk",
        on_report("forward", lambda by: {"to": CITY if by == TOWN else OTHER_TOWN}),
        "409:custody_elsewhere 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/alerts/{alert_id}/acknowledge",
        "desk",
        on_alert("acknowledge"),
        "ok 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/alerts/{alert_id}/release",
        "desk",
        on_owned_alert("release"),
        "409:alert_owned 404:not_found ok 404:not_found ok 404:not_found",
        "its town's",
    ),
    Row(
        "POST /v1/alerts/{alert_id}/escalate",
        "desk",
        on_alert("escalate"),
        "ok 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/alerts/{alert_id}/escalate",
        "desk",
        on_owned_alert("escalate"),
        "409:alert_owned 404:not_found ok 404:not_found ok 404:not_found",
        "its town's",
    ),
    Row(
        "POST /v1/alerts/{alert_id}/close",
        "desk",
        on_alert("close", **REASON),
        "ok 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/alerts/{alert_id}/close",
        "desk",
        on_owned_alert("close", **REASON),
        "409:alert_owned 404:not_found ok 404:not_found ok 404:not_found",
        "its town's",
    ),
    Row(
        "POST /v1/incidents/{incident_id}/merge",
        "desk",
        on_incident("merge", **REASON),
        "403:desk_above 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/incidents/{incident_id}/split",
        "desk",
        on_incident("split", **REASON),
        "403:desk_above 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/incidents/{incident_id}/dismiss",
        "desk",
        on_incident("dismiss", **REASON),
        "403:desk_above 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/incidents/{incident_id}/assign",
        "desk",
        on_incident("assign"),
        "403:desk_above 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/incidents/{incident_id}/outcome",
        "desk",
        on_incident("outcome", outcome="resolved", text="【演练】已处置"),
        "403:desk_above 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/incidents/{incident_id}/reopen",
        "desk",
        on_incident("reopen", **REASON),
        "403:desk_above 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/drills",
        "desk",
        at("/v1/drills", title="【演练】转移", node=TOWN),
        "422:node_unknown 422:node_unknown ok 422:node_unknown ok 422:node_unknown",
    ),
    Row(
        "POST /v1/drills/{drill_id}/end",
        "desk",
        a_drill_to_end,
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/rollcalls",
        "desk",
        at("/v1/rollcalls", question="【演练】有无险情？", node=VILLAGE, due_minutes=30),
        "ok 422:node_unknown ok 422:node_unknown ok 422:node_unknown",
    ),
    Row(
        "POST /v1/rollcalls/{roll_call_id}/answers",
        "reporter",
        an_answer,
        "ok 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/nodes",
        "admin",
        at("/v1/nodes", code="370783108299", name="新村", tier="village", parent=TOWN),
        "422:node_unknown 422:node_unknown ok 422:node_unknown 409:node_taken 422:node_unknown",
    ),
    Row(
        "PATCH /v1/nodes/{code}",
        "admin",
        at(f"/v1/nodes/{VILLAGE}", population=800),
        "ok 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/nodes/{code}/reopen",
        "admin",
        at(f"/v1/nodes/{VILLAGE}/reopen", **REASON),
        "ok 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/nodes/{code}/merge",
        "admin",
        at(f"/v1/nodes/{VILLAGE}/merge", into=THIRD, dry_run=True),
        "422:node_unknown 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/nodes/{code}/split",
        "admin",
        at(f"/v1/nodes/{VILLAGE}/split", parts=[{"code": "370783108298", "name": "东村"}], dry_run=True),
        "ok 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/accounts",
        "admin",
        a_new_account,
        "422:node_unknown 422:node_unknown ok 422:node_unknown ok 422:node_unknown",
    ),
    Row(
        "PATCH /v1/accounts/{account_id}",
        "admin",
        on_account("", {"json": {"role": "reporter"}}),
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/accounts/{account_id}/disable",
        "admin",
        on_account("/disable"),
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/accounts/{account_id}/enable",
        "admin",
        on_account("/enable"),
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/accounts/{account_id}/code",
        "admin",
        on_account("/code"),
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/accounts/{account_id}/reset",
        "admin",
        on_account("/reset"),
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/keys",
        "admin",
        at("/v1/keys", node=TOWN, scopes=["alerts:read"], label="gateway"),
        "422:node_unknown 422:node_unknown ok 422:node_unknown ok 422:node_unknown",
    ),
    Row("DELETE /v1/keys/{key_id}", "admin", a_key, "404:not_found 404:not_found ok 404:not_found ok 404:not_found"),
    *(
        row
        for kind in ("webhooks", "channels")
        for row in (
            Row(
                f"POST /v1/{kind}",
                "admin",
                at(f"/v1/{kind}", label="gateway", node=TOWN, url=TARGETS[kind], events=["alert.*"]),
                "422:node_unknown 422:node_unknown ok 422:node_unknown ok 422:node_unknown",
            ),
            Row(
                f"PATCH /v1/{kind}/{{receiver_id}}",
                "admin",
                on_receiver(kind, "", label="other"),
                "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
            ),
            Row(
                f"DELETE /v1/{kind}/{{receiver_id}}",
                "admin",
                on_receiver(kind, ""),
                "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
            ),
            Row(
                f"POST /v1/{kind}/{{receiver_id}}/test",
                "admin",
                on_receiver(kind, "/test"),
                "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
            ),
        )
    ),
    Row(
        "POST /v1/webhooks/{receiver_id}/rotate",
        "admin",
        on_receiver("webhooks", "/rotate"),
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
]
# Of what came late from the village: its sign-in was revoked.
HELD = [
    Row(
        "POST /v1/quarantine/{report_id}/release",
        "desk",
        on_held("release"),
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
    Row(
        "POST /v1/quarantine/{report_id}/reject",
        "desk",
        on_held("reject"),
        "404:not_found 404:not_found ok 404:not_found ok 404:not_found",
    ),
]
# What acts on nothing of an office's, or is tried elsewhere.
ELSEWHERE = {
    "POST /v1/auth/token": "signs in",
    "POST /v1/auth/enrol": "signs in",
    "POST /v1/auth/refresh": "one's own sign-in",
    "POST /v1/auth/revoke": "one's own sign-in",
    "POST /v1/me/password": "one's own account",
    "POST /v1/nodes/import": "tests/nodes/test_importing.py",
    "POST /v1/webhooks/{receiver_id}/deliveries/{delivery_id}/replay": "finds the receiver as rotate does",
    "POST /v1/channels/{receiver_id}/rotate": "a channel has no secret: 404 for all",
    "POST /v1/channels/{receiver_id}/deliveries/{delivery_id}/replay": "finds the receiver as rotate does",
}


async def test_every_acting_route_stands_in_the_table(app: FastAPI) -> None:
    routes = {
        f"{method.upper()} {path}"
        for path, methods in app.openapi()["paths"].items()
        for method in methods
        if method not in ("get", "head")
    }
    missing = routes - {row.way for row in [*ROWS, *HELD]} - ELSEWHERE.keys()

    assert not missing, f"say who may act: add a Row to ROWS in {__file__} for {sorted(missing)}"
    assert {row.way for row in [*ROWS, *HELD]} | ELSEWHERE.keys() == routes


def _id(row: Row) -> str:
    return f"{row.way} {row.what}".strip()


@pytest.mark.parametrize("row", ROWS, ids=_id)
async def test_who_may_act_and_who_may_not(client: httpx.AsyncClient, as_: As, row: Row) -> None:
    assert await tried(client, as_, row) == row.answers.split()


@pytest.mark.parametrize("row", HELD, ids=_id)
@pytest.mark.usefixtures("revoked")
async def test_who_may_decide_on_what_is_held(client: httpx.AsyncClient, as_: As, row: Row) -> None:
    assert await tried(client, as_, row) == row.answers.split()


async def tried(client: httpx.AsyncClient, as_: As, row: Row) -> list[str]:
    """What each of OFFICES is answered: ok, or the status and code of its refusal."""
    world, found = World(client, as_), []
    for office in OFFICES:
        path, sent = await row.prepare(world, office)
        headers = as_(office, row.role) | sent.pop("headers", {})
        answer = await client.request(row.way.split()[0], path, headers=headers, **sent)
        if answer.status_code >= 400:
            found.append(f"{answer.status_code}:{answer.json()['code']}")
        elif row.way == "POST /v1/reports/batch":
            found.append(answer.json()["results"][0]["status"])
        else:
            found.append("ok")
    return found


async def test_who_has_not_the_scope_is_refused_before_the_thing_is_looked_up(
    client: httpx.AsyncClient, as_: As
) -> None:
    refused = set()
    for row in [*ROWS, *HELD]:
        if row.role == "reporter":
            continue
        path = re.sub(r"\{\w+\}", str(new_id()), row.way.split()[1])

        answer = await client.request(row.way.split()[0], path, headers=as_(CITY, "reporter"))

        refused.add((answer.status_code, answer.json()["code"]))
    assert refused == {(403, "scope_missing")}
