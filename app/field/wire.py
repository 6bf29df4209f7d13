"""What goes over the wire, in as few bytes as it can: pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_FIRST = ("id", "node", "hazard", "urgency", "severity", "certainty", "submitted_at", "incident_id", "drill_id")
_SAID = (
    *("kind", "node", "hazard", "urgency", "severity", "certainty", "observed_at", "submitted_at", "summary"),
    *("description", "location", "figures", "drill_id"),
)
# As the server takes it.
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def text(body: Mapping[str, Any]) -> str:
    """JSON without a space."""
    said = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    # Half of a character, as some keyboards leave behind, has no bytes.
    return said.encode("utf-8", "ignore").decode()


def encode(body: Mapping[str, Any]) -> bytes:
    """JSON as it goes out."""
    return text(body).encode()


def moment(at: datetime) -> str:
    """RFC 3339, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tiny(report: Mapping[str, Any]) -> dict[str, Any]:
    """What must be known at once, in one packet: what, how grave, when. Details follow as a correction."""
    return {key: report[key] for key in _FIRST if report.get(key) is not None}


def corrected(said: Mapping[str, Any], changes: Mapping[str, Any], *, now: datetime) -> dict[str, Any]:
    """All that a report is to say from now on; a change to None takes a field away.

    What was seen keeps its time; the correction has its own, since the time it was written decides whether it may
    still be sent.
    """
    body = {**said, "observed_at": said.get("observed_at") or said["submitted_at"], "submitted_at": moment(now)}
    body |= {key: value for key, value in changes.items() if key != "id"}
    return {key: value for key, value in body.items() if value is not None}


def said_by(view: Mapping[str, Any]) -> dict[str, Any]:
    """What a report says, of what the server answers: without what the server, or a desk, made of it."""
    return {"id": view["id"], **{key: view[key] for key in _SAID if view.get(key) is not None}}


def with_base(body: bytes, version: int) -> bytes:
    """A correction as a batch takes it: with the version that it corrects."""
    return encode({**json.loads(body), "base_version": version})
