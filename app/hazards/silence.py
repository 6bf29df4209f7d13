"""Whom a roll call asks, and what silence means, as the policy file says it."""

from app.hazards.rules import Part


class RollCallsPolicy(Part):
    """The roll calls that are opened by the calendar."""


class SilencePolicy(Part):
    """When silence becomes an alert."""
