from collections.abc import Callable

import httpx
import pytest

from tests.builders import CITY, EXTREME, FOURTH, NEIGHBOUR, ROUTINE, URGENT, VILLAGE, report

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]


@pytest.fixture
async def posted(client: httpx.AsyncClient, as_: As) -> list[dict[str, str]]:
    """A red flood, an orange fire and a routine landslide."""
    found = []
    for node, body in (
        (VILLAGE, report(**EXTREME)),
        (NEIGHBOUR, report(**URGENT, hazard="fire.building", summary="【演练】仓库起火")),
        (FOURTH, report(**ROUTINE, hazard="earth.landslide", summary="【演练】山体裂缝")),
    ):
        answer = await client.post("/v1/reports", json=body, headers=as_(node, "reporter"))
        assert answer.status_code == 201, answer.text
        found.append(answer.json())
    return found


@pytest.mark.parametrize(
    ("path", "given", "places"),
    [
        ("/v1/reports", [("level", "{0}")], {0}),
        ("/v1/reports", [("level", "{0}"), ("level", "{1}")], {0, 1}),
        ("/v1/reports", [("hazard", "fire.building"), ("hazard", "flood.river")], {0, 1}),
        ("/v1/reports", [("hazard", "fire.building"), ("hazard", "flood.river"), ("level", "{1}")], {1}),
        ("/v1/incidents", [("hazard", "fire.building"), ("hazard", "earth.landslide")], {1, 2}),
        ("/v1/incidents", [("state", "open"), ("state", "closed")], {0, 1, 2}),
        ("/v1/alerts", [("level", "{0}"), ("level", "{1}")], {0, 1}),
        ("/v1/alerts", [("level", "{0}")], {0}),
        ("/v1/alerts", [("state", "raised"), ("state", "closed")], {0, 1}),
        ("/v1/alerts", [("state", "acknowledged"), ("state", "closed")], set()),
    ],
)
async def test_a_list_answers_what_has_any_of_the_values(
    client: httpx.AsyncClient,
    as_: As,
    posted: list[dict[str, str]],
    path: str,
    given: list[tuple[str, str]],
    places: set[int],
) -> None:
    levels = [one["level"] for one in posted]
    params = httpx.QueryParams([(name, value.format(*levels)) for name, value in given])

    answer = await client.get(path, params=params, headers=as_(CITY, "desk"))

    assert answer.status_code == 200, answer.text
    key = {"/v1/reports": "id", "/v1/incidents": "incident_id", "/v1/alerts": "alert_id"}[path]
    assert {item["id"] for item in answer.json()["items"]} == {posted[place][key] for place in places}
    assert len(set(levels)) == 3
