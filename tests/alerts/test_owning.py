"""Whose an alert is: taken by one, kept, handed back, sent up; and whoever comes too late is told."""

import asyncio
import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.settings import Settings
from tests.accounts.people import bearer, create_key
from tests.alerts.acts import act, alert_of, got, pass_time, told
from tests.alerts.test_polling import raise_alert
from tests.alerts.test_until import another, minutes
from tests.builders import CITY, OTHER_CITY, OTHER_TOWN, TOWN, VILLAGE

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

VERBS: list[tuple[str, dict[str, Any]]] = [
    ("acknowledge", {}),
    ("release", {}),
    ("escalate", {}),
    ("close", {"reason": "【演练】水退"}),
]


async def owned_by(client: httpx.AsyncClient, as_: As, node: str, role: str = "desk") -> str:
    """A new alert that this sign-in has taken on."""
    alert: str = (await raise_alert(client, as_))["alert_id"]
    taken = await act(client, as_(node, role), alert, "acknowledge")
    assert taken.json()["applied"]
    return alert


async def test_of_two_who_acknowledge_at_once_in_two_processes_one_wins_and_the_other_is_told_who(
    settings: Settings, clock: ManualClock, as_: As
) -> None:
    async with another(settings, clock) as (_, here), another(settings, clock) as (_, there):
        alert = (await raise_alert(here, as_))["alert_id"]
        for _ in range(6):
            answers = await asyncio.gather(
                act(here, as_(TOWN, "desk"), alert, "acknowledge"),
                act(there, as_(CITY, "desk"), alert, "acknowledge"),
                act(here, as_(VILLAGE, "desk"), alert, "acknowledge"),
            )

            won, *lost = sorted(answers, key=lambda answer: answer.status_code)
            assert [answer.status_code for answer in (won, *lost)] == [200, 409, 409]
            owner = won.json()["owner"]
            for answer in lost:
                problem = answer.json()
                named = {key: problem["owner"][key] for key in ("node", "name", "at")}
                assert (problem["code"], named) == ("alert_owned", {key: owner[key] for key in named})
                assert (
                    problem["detail"] == f"{owner['name']} ({owner['node']}) acknowledged this alert at {minutes(0)}."
                )
            await act(there, as_(CITY, "admin"), alert, "release")
        events = [kind for kind, _, _ in await told(here, as_(CITY, "desk"))]

    assert events == ["alert.raised", *["alert.acknowledged", "alert.released"] * 6]


async def test_an_owner_is_the_office_and_its_sign_in_and_no_more(client: httpx.AsyncClient, as_: As) -> None:
    alert = await owned_by(client, as_, TOWN)

    owner = (await alert_of(client, as_(TOWN, "reporter"), alert))["owner"]

    assert owner == {"node": TOWN, "name": "上口镇", "label": f"desk-{TOWN}", "at": minutes(0)}


@pytest.mark.parametrize(
    ("owner", "other"),
    [
        ((TOWN, "desk"), (VILLAGE, "desk")),
        ((CITY, "desk"), (TOWN, "desk")),
    ],
)
async def test_others_are_told_whose_it_is(
    client: httpx.AsyncClient, as_: As, owner: tuple[str, str], other: tuple[str, str]
) -> None:
    alert = await owned_by(client, as_, *owner)
    before = await alert_of(client, as_(CITY, "reporter"), alert)

    for verb, body in VERBS:
        refused = await act(client, as_(*other), alert, verb, **body)
        assert (refused.status_code, refused.json()["code"]) == (409, "alert_owned")
        assert refused.json()["owner"] == before["owner"] | {"label": None}
    assert await alert_of(client, as_(CITY, "reporter"), alert) == before


async def test_the_owner_is_the_office_its_colleagues_have_it_too(client: httpx.AsyncClient, as_: As) -> None:
    alert = await owned_by(client, as_, TOWN, "desk")
    colleague = as_(TOWN, "supervisor")

    again = (await act(client, colleague, alert, "acknowledge")).json()
    later = (await act(client, colleague, alert, "acknowledge", until=minutes(30))).json()
    released = (await act(client, colleague, alert, "release")).json()

    assert (again["applied"], again["notice"]["code"]) == (False, "alert_yours")
    # The first who acknowledged stays named; the clock is the last one's.
    assert (later["applied"], later["owner"]["label"], later["until"]) == (True, f"desk-{TOWN}", minutes(30))
    assert (released["applied"], released["state"], released["owner"]) == (True, "raised", None)


@pytest.mark.parametrize(
    ("owner", "by"), [((TOWN, "desk"), (TOWN, "desk")), ((TOWN, "desk"), (CITY, "desk")), ((CITY, "desk"),) * 2]
)
async def test_its_owner_hands_it_back_or_the_office_above(
    app: FastAPI, client: httpx.AsyncClient, as_: As, owner: tuple[str, str], by: tuple[str, str]
) -> None:
    alert = await owned_by(client, as_, *owner)
    app.state.clock.advance(timedelta(minutes=10))

    released = (await act(client, as_(*by), alert, "release", note="【演练】换班")).json()

    assert (released["applied"], released["notice"]) == (True, None)
    assert (released["state"], released["owner"], released["due_at"]) == ("raised", None, minutes(25))
    assert released["escalation"] == {"step": 1, "next_at": minutes(25), "to": ["town.desk"]}
    last = (await got(client, as_(TOWN, "desk"), f"/v1/alerts/{alert}/timeline"))["items"][-1]
    assert (last["type"], last["node"], last["tier"]) == (
        "alert.released",
        by[0],
        "city" if by[0] == CITY else "town",
    )
    assert "【演练】换班" in last["text"]
    assert "【演练】换班" in last["text_zh"]
    again = (await act(client, as_(OTHER_CITY, "desk"), alert, "acknowledge")).status_code
    assert again == 404
    taken = (await act(client, as_(TOWN, "supervisor"), alert, "acknowledge")).json()
    assert taken["owner"]["label"] == f"supervisor-{TOWN}"


async def test_its_owner_sends_it_up_and_has_it_no_longer(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    alert = await owned_by(client, as_, TOWN)
    app.state.clock.advance(timedelta(minutes=10))

    sent = (await act(client, as_(TOWN, "desk"), alert, "escalate", note="【演练】冲锋舟不足")).json()
    await pass_time(app, 15)

    assert (sent["applied"], sent["state"], sent["owner"]) == (True, "raised", None)
    assert (sent["escalation"]["step"], sent["escalation"]["to"]) == (2, ["city.desk"])
    assert sent["due_at"] == minutes(25)
    assert (await told(client, as_(CITY, "desk")))[2:] == [("alert.escalated", 3, 2), ("alert.escalated", 4, 3)]
    steps = (await got(client, as_(CITY, "desk"), f"/v1/alerts/{alert}/timeline"))["items"]
    assert [step["node"] for step in steps] == [None, TOWN, TOWN, None]
    assert "【演练】冲锋舟不足" in steps[2]["text_zh"]


async def test_what_had_come_far_is_sent_up_from_there(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    await pass_time(app, 15)
    await act(client, as_(CITY, "desk"), alert, "acknowledge")

    sent = (await act(client, as_(CITY, "desk"), alert, "escalate")).json()

    # Step 3 is the last: from now on it is repeated.
    assert sent["escalation"] == {"step": 3, "next_at": minutes(45), "to": ["city.supervisor", "channels"]}


async def test_what_has_no_owner_is_sent_up_by_any_office_of_its_line_and_always_has_a_next_time(
    client: httpx.AsyncClient, as_: As
) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]

    steps = [
        (await act(client, as_(VILLAGE, "desk"), alert, "escalate", from_step=step)).json()["escalation"]
        for step in range(1, 15)
    ]

    assert [step["step"] for step in steps] == list(range(2, 16))
    assert [step["to"] for step in steps[:2]] == [["city.desk"], ["city.supervisor", "channels"]]
    assert all(step["to"] == ["city.supervisor", "channels"] for step in steps[1:])
    assert all(step["next_at"] for step in steps)


async def test_a_nervous_hand_sends_it_up_once(app: FastAPI, client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    town = as_(TOWN, "desk")

    answers = [(await act(client, town, alert, "escalate")).json() for _ in range(19)]
    app.state.clock.advance(timedelta(seconds=60))
    later = (await act(client, town, alert, "escalate")).json()

    assert [answer["applied"] for answer in answers] == [True, *[False] * 18]
    assert {answer["notice"]["code"] for answer in answers[1:]} == {"alert_just_escalated"}
    assert {answer["version"] for answer in answers} == {2}
    assert (later["applied"], later["escalation"]["step"]) == (True, 3)


async def test_who_says_from_which_step_sends_it_up_from_there_alone(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    town = as_(TOWN, "desk")

    first = (await act(client, town, alert, "escalate", from_step=1)).json()
    lost = (await act(client, town, alert, "escalate", from_step=1)).json()
    second = (await act(client, town, alert, "escalate", from_step=2)).json()

    assert [one["applied"] for one in (first, lost, second)] == [True, False, True]
    assert (lost["notice"]["code"], lost["escalation"]) == ("alert_step", first["escalation"])
    assert second["escalation"]["step"] == 3


async def test_on_a_closed_alert_every_act_is_seen_to_change_nothing(client: httpx.AsyncClient, as_: As) -> None:
    desk = as_(CITY, "desk")
    alert = await owned_by(client, as_, TOWN)
    closed = (await act(client, desk, alert, "close", reason="【演练】水退")).json()
    before = await told(client, desk)

    for verb, body in VERBS:
        answer = await act(client, desk, alert, verb, **body)
        assert answer.status_code == 200
        notice = answer.json()["notice"]
        assert answer.json() == closed | {"applied": False, "notice": notice}
        assert notice["code"] == "alert_closed"
        assert notice["text"]
        assert notice["text_zh"]
    assert await told(client, desk) == before


async def test_handing_back_what_nobody_has_is_seen_to_change_nothing(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]
    before = await alert_of(client, as_(CITY, "reporter"), alert)

    answer = (await act(client, as_(TOWN, "desk"), alert, "release")).json()

    assert (answer.pop("applied"), answer.pop("notice")["code"]) == (False, "alert_unowned")
    assert answer == before


async def test_an_alert_that_one_may_not_see_is_not_there(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]

    for office, (verb, body) in itertools.product((OTHER_TOWN, OTHER_CITY), VERBS):
        refused = await act(client, as_(office, "desk"), alert, verb, **body)
        assert (refused.status_code, refused.json()["code"]) == (404, "not_found")
    assert (await alert_of(client, as_(CITY, "reporter"), alert))["version"] == 1


async def test_what_the_body_does_not_know_is_refused(client: httpx.AsyncClient, as_: As) -> None:
    alert = (await raise_alert(client, as_))["alert_id"]

    for verb, body in VERBS:
        refused = await act(client, as_(TOWN, "desk"), alert, verb, **body, untill=minutes(5))
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/untill")


async def test_a_machine_owns_what_it_took_on_as_a_person_does(client: httpx.AsyncClient, as_: As) -> None:
    made = await create_key(client, node=TOWN, scopes=["alerts:read", "alerts:act"])
    key = bearer(made.json()["key"])
    alert = (await raise_alert(client, as_))["alert_id"]

    taken = (await act(client, key, alert, "acknowledge")).json()
    known = (await act(client, as_(TOWN, "desk"), alert, "acknowledge")).json()
    refused = await act(client, as_(CITY, "desk"), alert, "acknowledge")
    released = (await act(client, key, alert, "release")).json()

    assert (taken["owner"]["node"], known["owner"]["label"]) == (TOWN, "gateway")
    assert (known["applied"], refused.status_code) == (False, 409)
    assert (released["applied"], released["state"]) == (True, "raised")


async def test_a_note_keeps_no_personal_identifier(client: httpx.AsyncClient, as_: As) -> None:
    alert = await owned_by(client, as_, TOWN)

    await act(client, as_(TOWN, "desk"), alert, "release", note="请拨13800138000")

    timeline = await got(client, as_(CITY, "desk"), f"/v1/alerts/{alert}/timeline")
    assert "请拨" in timeline["items"][-1]["text"]
    assert "13800138000" not in str(timeline)
