"""What may become of a custody: as a table, and as the offices do it in any order."""

import random
from collections.abc import Callable
from typing import Any, get_args

import httpx
import pytest

from app.core.database import Database
from app.reports import moves
from app.reports.models import Custody, ReportStep
from app.reports.moves import Act, State
from tests.builders import CITY, OTHER_TOWN, TOWN, VILLAGE
from tests.tables import rows

As = Callable[[str, str], dict[str, str]]

STATES: tuple[State, ...] = get_args(State)
ACTS: tuple[Act, ...] = get_args(Act)


def test_a_custody_never_goes_back_to_received_by_its_own_office() -> None:
    order = {state: number for number, state in enumerate(STATES)}
    for act in ACTS:
        for state in STATES:
            to = moves.after(state, act)
            assert to is None or order[to] >= order[state], (act, state)
            assert (state in moves.before(act)) == (to not in (None, state))
    assert set(moves.MOVES) == set(ACTS)


def test_only_what_waits_is_opened_or_answered_and_anything_may_be_passed_on() -> None:
    assert moves.before("open") == ("received",)
    assert moves.before("answer") == moves.before("acknowledge") == moves.WAITING
    assert {moves.after(state, "pass") for state in STATES} == {"forwarded"}


OFFICES = (VILLAGE, TOWN, CITY, OTHER_TOWN)
# Whom each may pass it on to, here.
TO = {VILLAGE: (TOWN,), TOWN: (CITY, VILLAGE), CITY: (TOWN, VILLAGE, OTHER_TOWN), OTHER_TOWN: (CITY,)}

CALLED = {"acknowledge": "report.acknowledged", "return": "report.returned", "forward": "report.forwarded"}
DONE: dict[str, Act] = {"acknowledge": "acknowledge", "return": "ask", "forward": "pass"}


@pytest.mark.anyio
@pytest.mark.parametrize("seed", [1, 2])
async def test_in_any_order_each_office_has_the_state_that_the_table_says_and_each_change_one_step(
    client: httpx.AsyncClient, as_: As, database: Database, filed: Callable[..., Any], seed: int
) -> None:
    chance = random.Random(seed)
    report_id = await filed()
    path = f"/v1/reports/{report_id}"
    states: dict[str, State] = {TOWN: "received"}
    given: dict[str, str] = {}
    steps: list[tuple[str, str, str | None]] = []

    def hold(office: str, by: str) -> None:
        states[office], given[office] = "received", by

    for number in range(60):
        office = chance.choice(OFFICES)
        what = chance.choice(("open", "acknowledge", "return", "forward"))
        desk, before = as_(office, "desk"), dict(states)
        sees = office != OTHER_TOWN or office in states
        if what == "open":
            assert (await client.get(path, headers=desk)).status_code == (200 if sees else 404)
            if states.get(office) == "received":
                states[office] = "opened"
                steps.append(("report.opened", office, None))
            continue
        to = chance.choice(TO[office])
        body: dict[str, Any] = {"note": f"【演练】{number}"}
        if what == "return":
            to, body = given.get(office, VILLAGE), {"question": f"【演练】{number}？"}
        elif what == "forward":
            body["to"] = to
        answer = await client.post(f"{path}/{what}", json=body, headers=desk)
        if office not in states:
            assert answer.status_code == (409 if sees else 404), answer.text
        elif what == "return" and to == office:
            assert answer.status_code == 422
        else:
            assert answer.status_code == 200, answer.text
            after = moves.after(states[office], DONE[what])
            assert answer.json()["applied"] == (after is not None)
            if after is not None:
                if what == "return" and states[office] == "received":
                    steps.append(("report.opened", office, None))
                states[office] = after
                if what != "acknowledge":
                    hold(to, office)
                steps.append((CALLED[what], office, None if what == "acknowledge" else to))
        if answer.status_code != 200:
            assert states == before
    stored = {one.node_code: (one.state, one.given_by) for one in await rows(database, Custody)}
    assert stored == {office: (state, given.get(office)) for office, state in states.items()}
    taken = sorted(await rows(database, ReportStep), key=lambda one: one.id)
    assert [(one.type, one.node_code, one.to_node) for one in taken if one.type != "report.received"] == steps
    # However often the first office was given it again, that it received it first is told once.
    shown = (await client.get(f"{path}/timeline", headers=as_(VILLAGE, "reporter"))).json()["items"]
    assert [one["to"] for one in shown if one["type"] == "report.received"] == [TOWN]
    assert len(shown) == len(steps) + 1
