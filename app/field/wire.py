"""What goes over the wire, in as few bytes as it can: pure."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_FIRST = ("id", "node", "hazard", "urgency", "severity", "certainty", "submitted_at", "incident_id", "drill_id")
_SAID = (
    *("kind", "node", "hazard", "urgency", "severity", "certainty", "observed_at", "submitted_at", "summary"),
    *("description", "location", "figures", "drill_id"),
)
# As the server takes it.
FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
_TIMES = ("observed_at", "submitted_at")


def text(body: Mapping[str, Any]) -> str:
    """JSON without a space."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


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


def set_right(body: Mapping[str, Any], *, there: datetime, here: datetime) -> dict[str, Any]:
    """The same, with its times as they are at the server, where it is `there`, when it is `here` on the device.

    A clock that is ahead is known by that; what is later than `there` even so is of that moment.
    """
    by = min(timedelta(), there - here)
    given = {key: datetime.fromisoformat(body[key]) for key in _TIMES if body.get(key) is not None}
    return {**body, **{key: moment(min(at + by, there)) for key, at in given.items()}}


def said_by(view: Mapping[str, Any]) -> dict[str, Any]:
    """What a report says, of what the server answers: without what the server, or a desk, made of it."""
    return {"id": view["id"], **{key: view[key] for key in _SAID if view.get(key) is not None}}


def with_base(body: bytes, version: int) -> bytes:
    """A correction as a batch takes it: with the version that it corrects."""
    return encode({**json.loads(body), "base_version": version})
