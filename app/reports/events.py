from collections.abc import Mapping
from typing import Any

from app.feed.service import Event

TOPIC = "report"

# After these a reader no longer has the report.
TOMBSTONES = frozenset({"report.left_scope", "report.rejected", "report.withdrawn"})


def event(kind: str, row: Mapping[str, Any], *, also: tuple[str, ...] = (), **what: Any) -> Event:
    """The log's event of a report (its row): what it is now, and `what` happened to it, ready for JSON.

    `also` names further offices that see it: those that hold it without having it in their subtree.
    """
    body = {
        "id": str(row["id"]),
        "version": row["version"],
        "kind": row["kind"],
        "node": row["node_code"],
        "hazard": row["hazard"],
        "level": row["level"],
        "incident_id": str(row["incident_id"]),
        "alert_id": str(row["alert_id"]) if row["alert_id"] else None,
        **what,
    }
    return Event(kind, TOPIC, row["id"], row["version"], row["node_code"], body, also=also, drill_id=row["drill_id"])
