from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import BaseModel, Field

from app.incidents.proposed import Standing


class Outcome(StrEnum):
    """How a matter ends."""

    RESOLVED = "resolved"
    NO_ACTION = "no_action"
    REFERRED = "referred"
    LONG_TERM = "long_term"
    FALSE_ALARM = "false_alarm"

    @property
    def en(self) -> str:
        """In English."""
        return _OUTCOMES[self][0]

    @property
    def zh(self) -> str:
        """In Chinese."""
        return _OUTCOMES[self][1]


_OUTCOMES = {
    Outcome.RESOLVED: ("resolved", "已处置完毕"),
    Outcome.NO_ACTION: ("no action needed", "无需处置"),
    Outcome.REFERRED: ("referred to another agency", "已移交其他部门"),
    Outcome.LONG_TERM: ("taken into long-term works", "转入长期治理"),
    Outcome.FALSE_ALARM: ("false alarm", "误报"),
}


class Assigned(BaseModel):
    """The office that leads."""

    node: str
    due_at: datetime | None = Field(description="to be settled by")


class Ended(BaseModel):
    """How the matter ended."""

    outcome: Outcome
    text: str
    called: str
    called_zh: str
    at: datetime


class ProposalView(BaseModel):
    """Another incident that may be this one. More than this of it only those see who may see that incident."""

    id: UUID = Field(description="the other incident: merge it, or dismiss it as `other`")
    hazard: str
    level: str
    town: str | None = Field(description="its town's code; none: the city itself reported it")
    town_name: str
    distance_m: int | None = Field(description="between the nearest reports of the two; none: not known")
    text: str = Field(description="why they may be one")
    text_zh: str
    proposed_at: datetime


class IncidentView(BaseModel):
    """The event in the world, as its reports tell it."""

    id: UUID
    version: int
    state: str
    hazard: str
    level: str = Field(description="the gravest level any of its reports had")
    node: str = Field(description="the node that was heard first")
    headline: str
    reports: int
    opened_at: datetime
    last_observed_at: datetime
    origin: str = Field(description="reports, or silence: nobody reported it")
    drill_id: UUID | None = Field(description="the drill it belongs to; none: it is real")
    merged_into: UUID | None = Field(None, description="it is an alias of that incident, which has its reports")
    aliases: list[UUID] = Field(default_factory=list, description="incidents that were merged into this one")
    proposals: list[ProposalView] | None = Field(
        None, description="incidents that may be this one, the nearest first; null: this answer does not tell"
    )
    assigned: Assigned | None = None
    ended: Ended | None = Field(None, description="the outcome, while the matter is closed")


class IncidentStepView(BaseModel):
    """One step in the incident's life."""

    id: UUID
    at: datetime
    type: str
    node: str | None = Field(description="the office that acted; none: a rule did")
    tier: str | None
    other: UUID | None = Field(description="the other incident of a merge or split")
    text: str
    text_zh: str


def incident_view(
    row: Mapping[str, Any], aliases: Sequence[UUID] = (), proposals: Sequence[ProposalView] | None = None
) -> IncidentView:
    """A row of `incidents` as the wire shows it."""
    return IncidentView(
        id=row["id"],
        version=row["version"],
        state=row["state"],
        hazard=row["hazard"],
        level=row["level"],
        node=row["node_code"],
        headline=row["headline"],
        reports=row["reports"],
        opened_at=row["opened_at"],
        last_observed_at=row["last_observed_at"],
        origin=row["origin"],
        drill_id=row["drill_id"],
        merged_into=row["merged_into"],
        aliases=list(aliases),
        proposals=None if proposals is None else list(proposals),
        assigned=_assigned(row),
        ended=_ended(row),
    )


def proposal_view(standing: Standing, other: Any, town: str) -> ProposalView:
    """A proposal as the one of its incidents shows it; `other` is the other one's row, `town` the name of its town."""
    return ProposalView(
        id=other.id,
        hazard=other.hazard,
        level=other.level,
        town=other.town_code,
        town_name=town,
        distance_m=None if standing.metres is None else round(standing.metres),
        text=standing.text,
        text_zh=standing.text_zh,
        proposed_at=standing.proposed_at,
    )


def is_ended(row: Mapping[str, Any]) -> bool:
    """Whether the matter has its outcome. A report that joined it since has opened it again."""
    return row["state"] == "closed" and row["outcome"] is not None


def step_view(row: Mapping[str, Any]) -> IncidentStepView:
    """A row of `incident_steps` as the wire shows it."""
    return IncidentStepView(
        id=row["id"],
        at=row["at"],
        type=row["type"],
        node=row["node_code"],
        tier=row["tier"],
        other=row["other_id"],
        text=row["text"],
        text_zh=row["text_zh"],
    )


def _assigned(row: Mapping[str, Any]) -> Assigned | None:
    if row["assigned_to"] is None:
        return None
    return Assigned(node=row["assigned_to"], due_at=row["assigned_due_at"])


def _ended(row: Mapping[str, Any]) -> Ended | None:
    if not is_ended(row):
        return None
    outcome = Outcome(row["outcome"])
    return Ended(
        outcome=outcome, text=row["outcome_text"], called=outcome.en, called_zh=outcome.zh, at=row["outcome_at"]
    )
