"""The reports that are sent: an exercise over the real tree, ready as bytes before anything is measured."""

import csv
import itertools
import json
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uuid_utils

TREE = Path(__file__).parent.parent / "app" / "demo" / "shouguang.csv"
CITY = "370783000000"
VARIETY = 2000  # different reports, apart from their ids

# Hazards whose level neither their name nor their neighbours raise under the default policy ...
SERVICES = ("road.blocked", "service.power", "service.water")
# ... and some that many neighbours raise by one level: under this load, always.
HAZARDS = (
    "flood.river",
    "flood.waterlogging",
    "weather.rainstorm",
    "weather.hail",
    "fire.building",
    "traffic.road",
    "disease.animal",
    *SERVICES,
)

# Weight, urgency, severity, certainty, hazards: 85 % routine or blue, 10 % yellow, 5 % orange or red.
MIX = (
    (45, "Past", "Minor", "Observed", HAZARDS),
    (40, "Future", "Minor", "Possible", HAZARDS),
    (10, "Expected", "Moderate", "Likely", SERVICES),
    (3, "Immediate", "Severe", "Observed", HAZARDS),
    (2, "Immediate", "Extreme", "Observed", HAZARDS),
)

_SUMMARIES = ("【演练】河水上涨", "【演练】路面积水约二十厘米", "【演练】村东头停电", "【演练】低洼处有积水，无人受困")
_DESCRIPTION = "【演练】值班人员已到现场查看，正在组织转移，稍后续报。" * 3
_SLOT = "00000000-0000-7000-8000-000000000000"


def request_maker(path: str, headers: Mapping[str, str], *, seed: int = 2018) -> Callable[[], bytes]:
    """A function that answers the bytes of the next POST; each report has a new UUIDv7 of its own."""
    heads_and_tails = [_split(path, headers, body) for body in _bodies(random.Random(seed))]
    following = itertools.cycle(heads_and_tails)
    new_id = uuid_utils.uuid7

    def next_request() -> bytes:
        head, tail = next(following)
        return b"%b%b%b" % (head, str(new_id()).encode(), tail)

    return next_request


def _bodies(dice: random.Random) -> list[bytes]:
    with TREE.open(encoding="utf-8") as file:
        villages = [row["code"] for row in csv.DictReader(file) if row["tier"] == "village"]
    now = datetime.now(UTC)
    weights = [weight for weight, *_ in MIX]
    bodies = []
    for _ in range(VARIETY):
        _, urgency, severity, certainty, hazards = dice.choices(MIX, weights)[0]
        observed_at = now - timedelta(seconds=dice.randrange(60, 1800))
        body = {
            "id": _SLOT,
            "kind": "initial",
            "node": dice.choice(villages),
            "hazard": dice.choice(hazards),
            "urgency": urgency,
            "severity": severity,
            "certainty": certainty,
            "observed_at": observed_at.isoformat(timespec="seconds"),
            "submitted_at": (observed_at + timedelta(seconds=50)).isoformat(timespec="seconds"),
            "summary": dice.choice(_SUMMARIES),
            "description": _DESCRIPTION,
            "location": {
                "lat": round(dice.uniform(36.7, 37.2), 5),
                "lon": round(dice.uniform(118.5, 119.1), 5),
                "accuracy_m": 30,
            },
            "figures": {"affected": dice.randrange(300), "relocated": 0},
        }
        bodies.append(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())
    return bodies


def _split(path: str, headers: Mapping[str, str], body: bytes) -> tuple[bytes, bytes]:
    fields = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    before, after = body.split(_SLOT.encode())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + before, after
