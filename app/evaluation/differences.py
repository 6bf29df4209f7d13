"""What a simulation found, as tables for people and as JSON for machines."""

import json
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from app.core.clock import ZONE
from app.evaluation.courses import Raised
from app.evaluation.outcome import Outcome, Side
from app.evaluation.simulation import Simulated
from app.hazards.cap import RISING

# The terminal shows so many differing rows of a kind; --json has all.
SHOWN = 50


def as_json(found: Simulated) -> str:
    """All of it, for machines."""
    body = {
        "since": found.since.isoformat(),
        "until": found.until.isoformat(),
        "differs": found.differs,
        "cities": {city: _outcome(outcome) for city, outcome in found.cities.items()},
    }
    return json.dumps(body, ensure_ascii=False, indent=1)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "reports": outcome.reports,
        "stored": _side(outcome.stored),
        "simulated": _side(outcome.simulated),
        "report_rows": [
            {
                "id": str(row.report_id),
                "received_at": row.at.isoformat(),
                "node": row.node,
                "hazard": row.hazard,
                "stored": row.stored,
                "simulated": row.simulated,
                "why": row.why,
                "why_zh": row.why_zh,
            }
            for row in outcome.report_rows
        ],
        "alert_rows": [
            {
                "incident_id": str(row.incident_id),
                "stored": _raised(row.stored),
                "simulated": _raised(row.simulated),
                "what": row.what,
                "what_zh": row.what_zh,
            }
            for row in outcome.alert_rows
        ],
        "alarm_rows": [
            {
                "at": row.at.isoformat(),
                "rule": row.rule,
                "node": row.node,
                "sentence": row.sentence,
                "in": "simulated" if row.simulated else "stored",
            }
            for row in outcome.alarm_rows
        ],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "reports": {str(level): side.levels[level] for level in reversed(RISING)},
        "alerts": {str(level): side.alerts[level] for level in reversed(RISING)},
        "raised_again": side.again,
        "overdue": side.overdue,
        "alarms": dict(sorted(side.alarms.items())),
    }


def _raised(one: Raised | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"at": one.at.isoformat(), "level": one.level, "by": one.by, "again": one.again, "overdue": one.late > 0}


def show(found: Simulated, console: Console) -> None:
    """The same as tables, the first rows of each kind."""
    for city_id, outcome in found.cities.items():
        if outcome.reports == 0 and not outcome.differs:
            continue
        since, until = _local(found.since), _local(found.until)
        console.print(f"{city_id}: {outcome.reports} reports from {since} until {until}.")
        if not outcome.differs:
            console.print("Nothing differs.")
            continue
        console.print(_totals(outcome))
        _rows(
            console,
            "Reports whose level differs",
            ("report", "received", "node", "hazard", "stored", "simulated", "why"),
            [
                (str(row.report_id), _local(row.at), row.node, row.hazard, row.stored, row.simulated, row.why)
                for row in outcome.report_rows
            ],
        )
        _rows(
            console,
            "Alerts that differ",
            ("incident", "stored", "simulated", "what"),
            [(str(row.incident_id), _said(row.stored), _said(row.simulated), row.what) for row in outcome.alert_rows],
        )
        _rows(
            console,
            "Alarms of early detection that differ",
            ("at", "rule", "node", "", "sentence"),
            [
                (_local(row.at), row.rule, row.node, "simulated" if row.simulated else "stored", row.sentence)
                for row in outcome.alarm_rows
            ],
        )
    if not any(outcome.reports for outcome in found.cities.values()):
        console.print("No reports were received in that time.")


def _totals(outcome: Outcome) -> Table:
    table = Table("", "stored", "simulated", "difference", title="Totals", title_justify="left")
    was, would = outcome.stored, outcome.simulated
    lines = [(f"reports at {level}", was.levels[level], would.levels[level]) for level in reversed(RISING)]
    lines += [(f"alerts at {level}", was.alerts[level], would.alerts[level]) for level in reversed(RISING)]
    lines += [("alerts raised again", was.again, would.again), ("alerts overdue", was.overdue, would.overdue)]
    lines += [(f"alarms {rule}", was.alarms[rule], would.alarms[rule]) for rule in sorted({*was.alarms, *would.alarms})]
    for name, one, other in lines:
        if one or other:
            table.add_row(name, str(one), str(other), f"{other - one:+d}" if other != one else "")
    return table


def _rows(console: Console, title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if not rows:
        return
    # An id is for copying: folded rather than cut.
    table = Table(Column(heads[0], overflow="fold"), *heads[1:], title=title, title_justify="left")
    for row in rows[:SHOWN]:
        table.add_row(*row)
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"{len(rows) - SHOWN} more; --json has all of them.")


def _said(one: Raised | None) -> str:
    if one is None:
        return "none"
    again = f", raised again {one.again} times" if one.again else ""
    return f"{one.level} {_local(one.at)}, by {one.by}{again}{', overdue' if one.late else ''}"


def _local(at: datetime) -> str:
    return at.astimezone(ZONE).strftime("%Y-%m-%d %H:%M")
