"""One door: what a caller may see, asked of every route that reads records."""

from collections.abc import Callable

import httpx
import pytest

from tests.builders import (
    CITY,
    EXTREME,
    FAR_VILLAGE,
    NEIGHBOUR,
    OTHER_CITY,
    OTHER_CITY_VILLAGE,
    OTHER_TOWN,
    TOWN,
    VILLAGE,
    report,
)

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

LISTS = ("/v1/reports", "/v1/incidents", "/v1/alerts")


@pytest.mark.parametrize(
    ("node", "sees"),
    [
        (VILLAGE, {VILLAGE}),
        (NEIGHBOUR, {NEIGHBOUR}),
        (TOWN, {VILLAGE, NEIGHBOUR, TOWN}),
        (OTHER_TOWN, {FAR_VILLAGE}),
        (CITY, {VILLAGE, NEIGHBOUR, TOWN, FAR_VILLAGE, CITY}),
        (OTHER_CITY, {OTHER_CITY_VILLAGE}),
        (OTHER_CITY_VILLAGE, {OTHER_CITY_VILLAGE}),
    ],
)
async def test_a_caller_sees_its_own_subtree_and_nothing_else(
    client: httpx.AsyncClient, as_: As, node: str, sees: set[str]
) -> None:
    made = {}
    for reporter in (VILLAGE, NEIGHBOUR, TOWN, FAR_VILLAGE, CITY, OTHER_CITY_VILLAGE):
        answer = await client.post("/v1/reports", json=report(**EXTREME), headers=as_(reporter, "reporter"))
        made[reporter] = answer.json()

    headers = as_(node, "supervisor")
    for path in LISTS:
        items = (await client.get(path, headers=headers)).json()["items"]
        seen = {item["node"]["code"] if path == "/v1/alerts" else item["node"] for item in items}
        assert seen == sees, path
    for reporter, stored in made.items():
        for path in (
            f"/v1/reports/{stored['id']}",
            f"/v1/incidents/{stored['incident_id']}",
            f"/v1/alerts/{stored['alert_id']}",
        ):
            expected = 200 if reporter in sees else 404
            assert (await client.get(path, headers=headers)).status_code == expected, path


async def test_filters_narrow_and_never_widen(client: httpx.AsyncClient, as_: As) -> None:
    for reporter in (VILLAGE, FAR_VILLAGE):
        await client.post("/v1/reports", json=report(**EXTREME), headers=as_(reporter, "reporter"))

    async def nodes(query: str, node: str) -> set[str]:
        answer = await client.get(f"/v1/reports?{query}", headers=as_(node, "desk"))
        assert answer.status_code == 200, answer.text
        return {item["node"] for item in answer.json()["items"]}

    assert await nodes(f"node={VILLAGE}", CITY) == {VILLAGE}
    assert await nodes(f"node={TOWN}", CITY) == {VILLAGE}
    assert await nodes(f"node={CITY}", CITY) == {VILLAGE, FAR_VILLAGE}
    assert await nodes(f"node={FAR_VILLAGE}", TOWN) == set()
    assert await nodes(f"node={CITY}", TOWN) == {VILLAGE}
    assert await nodes("level=red", CITY) == {VILLAGE, FAR_VILLAGE}
    assert await nodes("level=blue", CITY) == set()
    assert await nodes("hazard=natural", CITY) == {VILLAGE, FAR_VILLAGE}
    assert await nodes("hazard=fire.building", CITY) == set()
    assert await nodes("since=2018-08-20T04:15:00Z", CITY) == {VILLAGE, FAR_VILLAGE}
    assert await nodes("until=2018-08-20T04:15:00Z", CITY) == set()


async def test_lists_are_paged_without_loss(client: httpx.AsyncClient, as_: As) -> None:
    items = [report(hazard=hazard) for hazard in ("flood.river", "fire.building") for _ in range(4)]
    await client.post("/v1/reports/batch", json={"reports": items}, headers=as_(VILLAGE, "reporter"))

    seen, cursor = [], None
    while True:
        params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get("/v1/reports", params=params, headers=as_(CITY, "desk"))).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break

    assert sorted(seen) == sorted(item["id"] for item in items)


async def test_who_filed_is_known_at_the_filing_node_and_its_parent_only(client: httpx.AsyncClient, as_: As) -> None:
    stored = (await client.post("/v1/reports", json=report(), headers=as_(VILLAGE, "reporter"))).json()
    assert stored["account_id"]

    shown = {
        node: (await client.get(f"/v1/reports/{stored['id']}", headers=as_(node, "desk"))).json()["account_id"]
        for node in (VILLAGE, TOWN, CITY)
    }

    assert shown == {VILLAGE: stored["account_id"], TOWN: stored["account_id"], CITY: None}
    alerts = await client.get("/v1/alerts/changes", headers=as_(CITY, "desk"))
    assert stored["account_id"] not in alerts.text
