"""Standard Webhooks 1.0: what proves that a message is from here and whole."""

import base64
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

PREFIX = "whsec_"
SECRET_BYTES = 32
# An old secret stays good so long after it was replaced.
OVERLAP = timedelta(hours=24)
# Each good secret adds a signature to the headers of every message.
MOST_SECRETS = 10
MOST_BYTES = 20_000


def new_secret() -> str:
    """A secret as receivers keep it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def rotated(known: Sequence[Mapping[str, Any]], secret: str, now: datetime) -> list[dict[str, Any]]:
    """Return the secrets with a new one first. The one before it ends after OVERLAP, older ones when they would."""
    ends = [now + OVERLAP, *(datetime.fromisoformat(one["until"]) for one in known[1:])]
    before = [{"key": one["key"], "until": end.isoformat()} for one, end in zip(known, ends, strict=False) if end > now]
    return [{"key": secret, "until": None}, *before]


def good(known: Sequence[Mapping[str, Any]], now: datetime) -> list[str]:
    """The secrets that sign now."""
    return [one["key"] for one in known if one["until"] is None or datetime.fromisoformat(one["until"]) > now]


def message(kind: str, at: datetime, body: Mapping[str, Any]) -> bytes:
    """The raw body `{type, timestamp, data}`; what is too large says so, and where to read it is known by its id."""
    data = dict(body)
    while True:
        said = {"type": kind, "timestamp": at.isoformat(), "data": data}
        raw = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
        if len(raw) < MOST_BYTES:
            return raw
        kept: tuple[str, ...] = ("id", "version", "level", "state", "drill_id")
        data = {key: data[key] for key in kept if key in data} | {"truncated": True}


def headers(message_id: str, at: datetime, raw: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The headers of one try, signed with every good secret."""
    stamp = str(int(at.timestamp()))
    text = b".".join((message_id.encode(), stamp.encode(), raw))
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{_sign(key, text)}" for key in keys),
    }


def _sign(key: str, text: bytes) -> str:
    secret = base64.b64decode(key.removeprefix(PREFIX))
    return base64.b64encode(hmac.digest(secret, text, sha256)).decode()
