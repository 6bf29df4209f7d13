"""The words of CAP 1.2 for how bad, how soon and how sure, and the statutory levels."""

from enum import StrEnum


class Urgency(StrEnum):
    """CAP 1.2 section 3.2.2."""

    IMMEDIATE = "Immediate"
    EXPECTED = "Expected"
    FUTURE = "Future"
    PAST = "Past"
    UNKNOWN = "Unknown"


class Severity(StrEnum):
    """CAP 1.2 section 3.2.2."""

    EXTREME = "Extreme"
    SEVERE = "Severe"
    MODERATE = "Moderate"
    MINOR = "Minor"
    UNKNOWN = "Unknown"


class Certainty(StrEnum):
    """CAP 1.2 section 3.2.2."""

    OBSERVED = "Observed"
    LIKELY = "Likely"
    POSSIBLE = "Possible"
    UNLIKELY = "Unlikely"
    UNKNOWN = "Unknown"


class Level(StrEnum):
    """The statutory levels I to IV, and routine."""

    RED = "red"
    ORANGE = "orange"
    YELLOW = "yellow"
    BLUE = "blue"
    ROUTINE = "routine"

    @property
    def rank(self) -> int:
        """0 for routine up to 4 for red."""
        return _RANK[self]

    @property
    def zh(self) -> str:
        """The level in Chinese."""
        return _ZH[self]

    @property
    def en(self) -> str:
        """The level in English."""
        return self.value


RISING = (Level.ROUTINE, Level.BLUE, Level.YELLOW, Level.ORANGE, Level.RED)
_RANK = {level: rank for rank, level in enumerate(RISING)}
_ZH = {
    Level.RED: "红色",
    Level.ORANGE: "橙色",
    Level.YELLOW: "黄色",
    Level.BLUE: "蓝色",
    Level.ROUTINE: "一般",
}

# From the least to the gravest, as triage orders them. Unknown stands above the mildest: what nobody
# could say must not be taken for harmless.
URGENCIES = (Urgency.PAST, Urgency.FUTURE, Urgency.UNKNOWN, Urgency.EXPECTED, Urgency.IMMEDIATE)
SEVERITIES = (Severity.MINOR, Severity.UNKNOWN, Severity.MODERATE, Severity.SEVERE, Severity.EXTREME)
CERTAINTIES = (Certainty.UNLIKELY, Certainty.POSSIBLE, Certainty.UNKNOWN, Certainty.LIKELY, Certainty.OBSERVED)
