from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from app.feed.service import Event
from app.nodes.service import TreeChange

TOPIC = "report"

# After these a reader no longer has the report.
TOMBSTONES = frozenset({"report.left_scope", "report.rejected", "report.withdrawn"})


# What these offices may see has changed: to them it says, list again.
SCOPE_CHANGED = "report.scope_changed"


def scope_changed(change: TreeChange) -> Event | None:
    """The log's event of a node that changed hands, with all its reports; None when nobody sees more or less."""
    concerned = {one for one in (change.old_parent, change.new_parent, *change.also) if one is not None}
    offices = sorted(concerned - {change.city_id})
    if change.kind not in ("moved", "merged", "reopened") or not offices:
        return None
    node_id = uuid5(NAMESPACE_OID, change.code)
    body = {"id": str(node_id), "version": 0, "node": change.code, "offices": offices}
    return Event(SCOPE_CHANGED, TOPIC, node_id, 0, change.code, body, also=tuple(offices))


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
