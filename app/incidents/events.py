from collections.abc import Mapping
from typing import Any

from app.feed.service import Event

TOPIC = "incident"


def event(kind: str, row: Mapping[str, Any], **what: Any) -> Event:
    """The log's event of an incident (its row): what it is now, and `what` happened to it, ready for JSON.

    Every node that reported it sees it, and the office that leads.
    """
    body = {
        "id": str(row["id"]),
        "version": row["version"],
        "state": row["state"],
        "hazard": row["hazard"],
        "level": row["level"],
        "headline": row["headline"],
        "reports": row["reports"],
        "merged_into": str(row["merged_into"]) if row["merged_into"] else None,
        **what,
    }
    others = {*row["nodes"], row["assigned_to"]} - {None, row["node_code"]}
    return Event(
        kind,
        TOPIC,
        row["id"],
        row["version"],
        row["node_code"],
        body,
        also=tuple(sorted(others)),
        drill_id=row["drill_id"],
    )
