from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class AlarmView(BaseModel):
    """What early detection found unusual: offices and counts, nobody's name."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "0199a4c2-8000-7000-8000-3f1f0c9d2a11",
                "rule": "ears.c2",
                "family": "health",
                "hazard": None,
                "node": "370783108000",
                "day": "2018-08-20",
                "observed": 9,
                "expected": 2.1,
                "limit": 5.2,
                "sentence": "9 today, 2.1 expected, limit 5.2",
                "sentence_zh": "今日 9 起，预期 2.1 起，界限 5.2 起",
                "report_id": "0199a4c2-7f30-7000-8000-52b8a1d0c3e4",
                "reports": [],
                "incident_id": "0199a4c2-7f2e-7000-8000-52b8a1d0c3e4",
                "alert_id": "0199a4c2-7f30-7000-8000-3f1f0c9d2a11",
                "level": "yellow",
                "raised_at": "2018-08-19T20:12:03Z",
                "drill_id": None,
            }
        }
    )

    id: UUID
    rule: str = Field(description="ears.c1, ears.c2, ears.c3, cluster or cluster.disease")
    family: str
    hazard: str | None = Field(description="none: the whole family was looked at")
    node: str = Field(description="the town whose count it is; of a cluster, the node that was heard last")
    day: date = Field(description="the day the events were observed")
    observed: int
    expected: float | None = Field(description="none: a cluster has a limit only")
    limit: float
    sentence: str
    sentence_zh: str
    report_id: UUID = Field(description="the report that made it an alarm")
    reports: list[UUID] = Field(description="of a cluster: its reports, the earliest first")
    incident_id: UUID
    alert_id: UUID | None
    level: str | None = Field(description="that it gave the incident's alert; none: no alert")
    raised_at: datetime
    drill_id: UUID | None


def alarm_view(row: Mapping[str, Any]) -> AlarmView:
    """A row of `alarms` as the wire and the feed show it."""
    return AlarmView(node=row["node_code"], **{name: row[name] for name in AlarmView.model_fields if name != "node"})
