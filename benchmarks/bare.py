"""The two yardsticks without a database: what FastAPI alone costs."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import FastAPI
from pydantic import UUID7, AwareDatetime, BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0, le=100_000_000)]


class Location(BaseModel):
    """WGS 84."""

    model_config = ConfigDict(extra="forbid")

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    accuracy_m: float | None = Field(None, ge=0)


class Figures(BaseModel):
    """Counts."""

    model_config = ConfigDict(extra="forbid")

    affected: Count | None = None
    trapped: Count | None = None
    relocated: Count | None = None


class Report(BaseModel):
    """The body of Beacon's POST /v1/reports, written anew: a yardstick must not change with what it measures."""

    model_config = ConfigDict(extra="forbid")

    id: UUID7
    kind: Literal["initial", "followup", "final"] = "initial"
    node: str = Field(max_length=32)
    hazard: str = Field(max_length=40)
    urgency: Literal["Immediate", "Expected", "Future", "Past", "Unknown"] = "Unknown"
    severity: Literal["Extreme", "Severe", "Moderate", "Minor", "Unknown"] = "Unknown"
    certainty: Literal["Observed", "Likely", "Possible", "Unlikely", "Unknown"] = "Unknown"
    observed_at: AwareDatetime
    submitted_at: AwareDatetime
    summary: str = Field(min_length=1, max_length=200)
    description: str = Field("", max_length=4000)
    location: Location | None = None
    figures: Figures = Field(default_factory=Figures)
    incident_id: UUID | None = None


class Taken(BaseModel):
    """The small answer of the yardsticks."""

    id: UUID
    received_at: datetime


def create_app() -> FastAPI:
    """A GET of a small dict and a POST of a validated report that is then forgotten."""
    app = FastAPI()

    @app.get("/")
    async def status() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/reports", status_code=201)
    async def take(report: Report) -> Taken:
        return Taken(id=report.id, received_at=datetime.now(UTC))

    return app
