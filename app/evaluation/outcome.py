"""What would have differed: plain values, and an alert's difference in words."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from app.evaluation.courses import Raised
from app.hazards.cap import Level

# An alert that was raised this much earlier or later was raised at the same time.
SAME = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class ReportRow:
    """A report whose level differs, and why the other policy gives it that."""

    report_id: UUID
    at: datetime
    node: str
    hazard: str
    stored: Level
    simulated: Level
    why: str
    why_zh: str


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An incident whose alerts differ; None: there was, or would have been, none."""

    incident_id: UUID
    stored: Raised | None
    simulated: Raised | None
    what: str
    what_zh: str


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """An alarm of early detection that was raised, or would have been, but not both."""

    at: datetime
    rule: str
    node: str
    sentence: str
    simulated: bool


@dataclass(slots=True)
class Side:
    """The figures of one of the two: as it was, or as it would have been."""

    levels: Counter[Level] = field(default_factory=Counter)
    alerts: Counter[Level] = field(default_factory=Counter)
    again: int = 0
    overdue: int = 0
    alarms: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Outcome:
    """What would have differed."""

    reports: int = 0
    stored: Side = field(default_factory=Side)
    simulated: Side = field(default_factory=Side)
    report_rows: list[ReportRow] = field(default_factory=list)
    alert_rows: list[AlertRow] = field(default_factory=list)
    alarm_rows: list[AlarmRow] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.report_rows or self.alert_rows or self.alarm_rows)


def differs(stored: Raised | None, simulated: Raised | None, *, known: bool) -> tuple[str, str] | None:
    """What differs between an alert as it was and as it would have been, in words."""
    if stored is None:
        assert simulated is not None
        return (
            f"an alert more, {simulated.level.en}, by {simulated.by}",
            f"多一个{simulated.level.zh}警报",
        )
    if simulated is None:
        return f"no {stored.level.en} alert", f"没有{stored.level.zh}警报"
    said = []
    if stored.level is not simulated.level:
        said.append(
            (f"{simulated.level.en} instead of {stored.level.en}", f"{stored.level.zh}变为{simulated.level.zh}")
        )
    shift = simulated.at - stored.at
    # Detection looks a little later than the report came, by how busy the server was.
    if abs(shift) > SAME and "detection" not in (stored.by, simulated.by):
        minutes = round(abs(shift) / timedelta(minutes=1))
        later = shift > timedelta(0)
        said.append(
            (f"{minutes} minutes {'later' if later else 'earlier'}", f"{'晚' if later else '早'} {minutes} 分钟")
        )
    if stored.again != simulated.again:
        said.append(
            (
                f"raised again {simulated.again} times instead of {stored.again}",
                f"重新触发 {simulated.again} 次，原为 {stored.again} 次",
            )
        )
    if known and (stored.late > 0) is not (simulated.late > 0):
        said.append(("overdue", "超时") if simulated.late else ("in time", "未超时"))
    if not said:
        return None
    return ", ".join(one for one, _ in said), "，".join(zh for _, zh in said)
