from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from app.hazards.cap import Level
from app.nodes.models import CODE_PATTERN

EventType = Annotated[str, Field(pattern=r"^(\*|[a-z_]{1,20}\.(\*|[a-z_]{1,20}))$")]
Url = Annotated[str, Field(min_length=8, max_length=2000, pattern=r"^[!-~]+$")]


class ReceiverNew(BaseModel):
    """Who is to be told, and of what."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "label": "fire brigade gateway",
                "url": "https://gateway.example/beacon",
                "events": ["alert.*"],
                "levels": ["red", "orange"],
            }
        },
    )

    label: str = Field(min_length=1, max_length=80)
    url: Url
    node: str | None = Field(None, pattern=CODE_PATTERN, description="it hears what this office may see; the caller's")
    events: list[EventType] = Field(
        default_factory=list,
        max_length=50,
        description="types (alert.raised) or patterns (alert.*, *). None, for a webhook: alert.*; for a channel: when "
        "an alert's escalation names the channels",
    )
    levels: list[Level] = Field(default_factory=list, max_length=5, description="only these; none: all")
    drills: bool = Field(False, description="only exercises, instead of only what is real")


class ReceiverPatch(BaseModel):
    """What is changed. `state: active` enables it again; what waited for it is sent."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"state": "active"}})

    label: str = Field("", min_length=1, max_length=80)
    events: list[EventType] = Field(default_factory=list, max_length=50)
    levels: list[Level] = Field(default_factory=list, max_length=5)
    state: Literal["active", "disabled"] = "active"


class ReceiverView(BaseModel):
    """A receiver. Its address is shown without what may be secret in it."""

    id: UUID
    node: str
    label: str
    url: str
    events: list[str]
    levels: list[str]
    drills: bool
    state: Literal["active", "disabled"]
    reason: str | None = Field(description="why it is disabled, or what it has missed")
    reason_zh: str | None
    disabled_at: datetime | None
    created_at: datetime
    waiting: int = Field(description="deliveries that are still to be made")
    failed: int = Field(description="deliveries given up: replay them")


class ReceiverMade(ReceiverView):
    """A new receiver with its whole address, or one with a new secret: shown this once."""

    secret: str | None = Field(description="verify signatures with it; a channel has none")


class DeliveryView(BaseModel):
    """One event on its way."""

    id: UUID = Field(description="the webhook-id is msg_ and this")
    type: str
    at: datetime
    state: Literal["pending", "delivered", "failed"]
    tries: int
    next_at: datetime | None


class ReceiptView(BaseModel):
    """What became of one try."""

    number: int
    at: datetime
    status: int | None
    outcome: str
    milliseconds: int


class DeliveryDetail(DeliveryView):
    """One event on its way, with what was sent and a receipt for each try."""

    data: dict[str, Any]
    receipts: list[ReceiptView]


def receiver_fields(row: Mapping[str, Any], counts: Mapping[str, int]) -> dict[str, Any]:
    """A row of `receivers` as the wire shows it."""
    return {
        "id": row["id"],
        "node": row["node_code"],
        "label": row["label"],
        "url": shown(row["kind"], row["url"]),
        "events": row["events"],
        "levels": row["levels"],
        "drills": row["drills"],
        "state": row["state"],
        "reason": row["reason"],
        "reason_zh": row["reason_zh"],
        "disabled_at": row["disabled_at"],
        "created_at": row["created_at"],
        "waiting": counts.get("pending", 0),
        "failed": counts.get("failed", 0),
    }


def shown(kind: str, url: str) -> str:
    """An address without what may be secret: behind the host, and for a channel behind the scheme."""
    parts = urlsplit(url)
    if kind == "channel":
        return f"{parts.scheme}://…"
    return f"{parts.scheme}://{parts.netloc}{'/…' if parts.path.strip('/') or parts.query else '/'}"


def delivery_fields(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of `deliveries` as the wire shows it."""
    return {name: row[name] for name in DeliveryView.model_fields}


def secret_of(row: Mapping[str, Any]) -> str | None:
    """The newest secret; a channel has none."""
    return row["secrets"][0]["key"] if row["secrets"] else None
