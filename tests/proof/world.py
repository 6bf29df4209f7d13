"""The world that fuzzing is let loose on: the small tree, a sign-in of every kind, and some of each thing."""

import asyncio
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from app.core.migrate import upgrade
from tests import builders
from tests.builders import CITY, NEIGHBOUR, OTHER_TOWN, TOWN, VILLAGE
from tests.conftest import ROLES, seed, token_of

# Names that never resolve (RFC 6761): nothing that fuzzing makes is sent anywhere.
WEBHOOK, CHANNEL = "https://receiver.invalid/beacon", "barks://receiver.invalid/key"


@dataclass(frozen=True, slots=True)
class World:
    """What there is to name: by the name of a path parameter, the values that exist; and by sign-in, its token."""

    known: dict[str, list[str]]
    tokens: dict[str, str]

    def write(self, path: Path) -> None:
        """Write it where the fuzzer's hooks read it."""
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def read(cls, path: Path) -> "World":
        """What `write` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))


def prepare(database_url: str) -> None:
    """Make the tables, the tree and its sign-ins in an empty database."""
    upgrade(database_url)
    asyncio.run(seed(database_url))


def fill(url: str) -> World:
    """Report, ask, draw drills and receivers through the API of a running server, and return what was made."""
    tokens = {role: token_of(TOWN if role in ("desk", "supervisor") else CITY, role) for role in ROLES}
    tokens["reporter"] = token_of(VILLAGE, "reporter")
    with httpx.Client(base_url=url, timeout=30) as client:
        known: dict[str, list[str]] = {
            "code": [CITY, TOWN, OTHER_TOWN, VILLAGE, NEIGHBOUR],
            "name": ["photo.jpg"],
            "username": [f"{role}-{TOWN}" for role in ROLES],
            "version": ["1", "2"],
        }

        def call(method: str, path: str, role: str, node: str, body: dict[str, Any] | None = None) -> Any:
            headers = {"Authorization": f"Bearer {token_of(node, role)}"}
            answer = client.request(method, path, headers=headers, json=body)
            assert answer.status_code < 300, (path, answer.status_code, answer.text)
            return answer.json()

        now = datetime.now(UTC)
        written = {
            "observed_at": (now - timedelta(minutes=9)).isoformat(),
            "submitted_at": (now - timedelta(minutes=8)).isoformat(),
        }
        reports = [
            call("POST", "/v1/reports", "desk", node, builders.report(hazard=hazard, **triad, **written))
            for node in (VILLAGE, NEIGHBOUR, TOWN, OTHER_TOWN)
            for hazard in ("flood.river", "fire.building")
            for triad in (builders.URGENT, builders.ROUTINE)
        ]
        known["report_id"] = [one["id"] for one in reports]
        known["incident_id"] = sorted({one["incident_id"] for one in reports})
        known["alert_id"] = sorted({one["alert_id"] for one in reports if one["alert_id"]})
        drill = call("POST", "/v1/drills", "desk", TOWN, {"title": "【演练】汛期转移"})
        known["drill_id"] = [drill["id"]]
        asked = {"question": "【演练】堤防有无险情？", "due_minutes": 30}
        known["roll_call_id"] = [call("POST", "/v1/rollcalls", "desk", TOWN, asked)["id"]]
        receivers = [
            call("POST", f"/v1/{kind}", "admin", CITY, {"label": "gateway", "url": url, "events": ["alert.*"]})
            for kind, url in (("webhooks", WEBHOOK), ("channels", CHANNEL))
        ]
        known["receiver_id"] = [one["id"] for one in receivers]
        asked_for = {"node": TOWN, "scopes": ["reports:write", "reports:read", "alerts:read"], "label": "gateway"}
        tokens["key"] = call("POST", "/v1/keys", "admin", CITY, asked_for)["key"]
        # Another than the one that fuzzes: this one is revoked sooner or later.
        known["key_id"] = [call("POST", "/v1/keys", "admin", CITY, asked_for)["id"]]
    return World(known, tokens)
