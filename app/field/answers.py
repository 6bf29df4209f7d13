"""What an answer means for what was sent: pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Word = Literal["stored", "held", "conflict", "refused", "later", "part", "sign_in", "again", "link"]

# The server, or what stands before it, has no time: nothing else would fare better now.
_LINK = frozenset({408, 425, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one thing that was sent.

    stored, held, conflict, refused: settled. part: so far only some of a file. later: a desk has to decide first.
    sign_in: not as this sign-in. again: it failed alone. link: nothing is known, the link or the server failed.
    """

    word: Word
    answer: Mapping[str, Any]
    is_new: bool = False
    """It was stored by this very request: the times of its answer are of now."""


def single(status: int, content: bytes, *, report_id: str, parked: bool = False) -> Verdict:
    """The answer to one request about `report_id`; `parked`: it may be that a desk still holds the report.

    A page of a hotel's network that answers 200 to everything is no answer of Beacon.
    """
    body = parsed(content)
    if 200 <= status < 300 and body is not None and report_id in (body.get("id"), body.get("corrects")):
        if status != 202:
            return Verdict("stored", body, is_new=status == 201)
        # It came again after a desk had decided.
        return Verdict("refused", rejected(body)) if body.get("state") == "rejected" else Verdict("held", body)
    return failure(status, body, parked=parked)


def failure(status: int, body: Mapping[str, Any] | None, *, parked: bool = False) -> Verdict:
    """An answer that is not a success."""
    code = code_of(status, body)
    if status in _LINK or code is None or body is None:
        # It is not Beacon that speaks.
        return Verdict("again" if status == 500 else "link", {})
    if code == "version_conflict":
        return Verdict("conflict", body)
    if status == 401 or code == "scope_missing":
        return Verdict("sign_in", body)
    if code == "quarantine_full" or (status == 404 and parked):
        return Verdict("later", body)
    return Verdict("again" if status >= 500 else "refused", body)


def code_of(status: int, body: Mapping[str, Any] | None) -> str | None:
    """Which problem of Beacon's this is. A gateway that answers `{"code": 0}`, with whatever status, tells of none."""
    if body is None or status < 400 or body.get("status") != status:
        return None
    code = body.get("code")
    return code if isinstance(code, str) and body.get("type") == f"urn:beacon:problem:{code}" else None


def item(result: object, *, report_id: str, parked: bool = False) -> Verdict:
    """One result of a batch."""
    if not isinstance(result, dict):
        return Verdict("again", {})
    status, problem = result.get("status"), result.get("problem")
    if result.get("id") == report_id and status in ("created", "replayed", "updated", "quarantined"):
        held, report = result.get("receipt"), result.get("report")
        if not isinstance(held, dict):
            return Verdict("stored", report if isinstance(report, dict) else {}, is_new=status == "created")
        return Verdict("refused", rejected(held)) if held.get("state") == "rejected" else Verdict("held", held)
    if isinstance(problem, dict):
        status = problem.get("status")
        return failure(status if isinstance(status, int) else 500, problem, parked=parked)
    return Verdict("again", {})


def clock(report: Mapping[str, Any]) -> datetime | None:
    """The server's time, of its answer to a report that was stored just now."""
    try:
        at = datetime.fromisoformat(report["received_at"])
    except (KeyError, TypeError, ValueError):
        return None
    return at if at.tzinfo else None


def rejected(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """What a desk's rejection is to the device: a refusal, with the desk's words."""
    return {"code": "rejected_by_desk", "detail": receipt.get("note") or "", "receipt": dict(receipt)}


def parsed(content: bytes) -> dict[str, Any] | None:
    """A JSON object, or nothing."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None
