"""A village that moves takes its reports along: who sees more or less since is told to list again."""

from collections.abc import Callable

import httpx
import pytest

from tests.builders import CITY, OTHER_TOWN, TOWN, VILLAGE, report

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


async def test_the_old_and_the_new_town_are_told_to_list_again(client: httpx.AsyncClient, as_: As) -> None:
    await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))
    offices = (TOWN, OTHER_TOWN, CITY, VILLAGE)
    since = {
        office: (await client.get("/v1/reports", headers=as_(office, "desk"))).json()["cursor"] for office in offices
    }

    moved = await client.patch(f"/v1/nodes/{VILLAGE}", json={"parent": OTHER_TOWN}, headers=as_(CITY, "admin"))
    renamed = await client.patch(f"/v1/nodes/{VILLAGE}", json={"name": "新口子村"}, headers=as_(CITY, "admin"))

    assert (moved.status_code, renamed.status_code) == (200, 200)
    listed, told = {}, {}
    for office in offices:
        headers = as_(office, "desk")
        listed[office] = len((await client.get("/v1/reports", headers=headers)).json()["items"])
        page = (await client.get("/v1/reports/changes", params={"since": since[office]}, headers=headers)).json()
        told[office] = [(one["type"], one["list_again"], one["deleted"]) for one in page["results"]]
    assert listed == {TOWN: 0, OTHER_TOWN: 1, CITY: 1, VILLAGE: 1}
    again = [("report.scope_changed", True, False)]
    # The city and the village itself see what they saw before.
    nothing = [("report.scope_changed", False, False)]
    assert told == {TOWN: again, OTHER_TOWN: again, CITY: nothing, VILLAGE: nothing}
