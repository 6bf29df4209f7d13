"""Reports with sensible defaults, and the small tree that every test starts from."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from app.core.ids import new_id

NOON = datetime(2018, 8, 20, 4, 15, tzinfo=UTC)

CITY = "370783000000"
TOWN, OTHER_TOWN = "370783108000", "370783001000"
VILLAGE, NEIGHBOUR, THIRD, FOURTH = "370783108201", "370783108202", "370783108203", "370783108204"
FAR_VILLAGE = "370783001001"
OTHER_CITY, OTHER_CITY_TOWN, OTHER_CITY_VILLAGE = "370784000000", "370784001000", "370784001001"

# code, name, tier, parent
TREE = [
    (CITY, "寿光市", "city", None),
    (TOWN, "上口镇", "town", CITY),
    (OTHER_TOWN, "圣城街道", "town", CITY),
    (VILLAGE, "口子村", "village", TOWN),
    (NEIGHBOUR, "东堤村", "village", TOWN),
    (THIRD, "西堤村", "village", TOWN),
    (FOURTH, "南堤村", "village", TOWN),
    (FAR_VILLAGE, "北关社区", "village", OTHER_TOWN),
    (OTHER_CITY, "安丘市", "city", None),
    (OTHER_CITY_TOWN, "兴安街道", "town", OTHER_CITY),
    (OTHER_CITY_VILLAGE, "东关社区", "village", OTHER_CITY_TOWN),
]

ROUTINE = {"urgency": "Future", "severity": "Minor", "certainty": "Possible"}
URGENT = {"urgency": "Immediate", "severity": "Severe", "certainty": "Observed"}
EXTREME = {"urgency": "Immediate", "severity": "Extreme", "certainty": "Observed"}


def report(report_id: UUID | None = None, /, **changes: Any) -> dict[str, Any]:
    """The body of POST /v1/reports: a routine report, changed as told; a value of None takes the key away."""
    body: dict[str, Any] = {
        "id": str(report_id or new_id()),
        "kind": "initial",
        "hazard": "flood.river",
        **ROUTINE,
        "observed_at": (NOON - timedelta(minutes=5)).isoformat(),
        "submitted_at": (NOON - timedelta(minutes=3)).isoformat(),
        "summary": "【演练】河水上涨",
    }
    body |= changes
    return {key: value for key, value in body.items() if value is not None}
