"""How long what was written in time may come late, as the policy file says it."""

from datetime import timedelta

from pydantic import Field

from app.hazards.rules import Part


class QuarantinePolicy(Part):
    """Reports that come when their office may not send them any more."""

    days: int = Field(ge=1, le=90, strict=True)
    most_held: int = Field(ge=1, le=10_000, strict=True)

    @property
    def within(self) -> timedelta:
        """How long after it was written such a report is still taken."""
        return timedelta(days=self.days)
