import hashlib
import random
import re
import tomllib
from collections.abc import Iterator
from csv import DictReader
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

SCRIPT = Path(__file__).with_name("night.toml")
NODES = Path(__file__).with_name("shouguang.csv")
RIVERS = {"M": ("弥河", "The Mi"), "D": ("丹河", "The Dan")}
GREENHOUSES_PER_HECTARE = 3


@dataclass(frozen=True)
class Step:
    """One sending of the script: when, by which office, and the body of `POST /v1/reports`."""

    at: datetime
    node: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Told:
    """A report of the script before it has an id; `thread` joins what one office says of one event."""

    at: datetime
    node: str
    thread: str
    body: dict[str, Any]
    resent: timedelta | None = None


@dataclass(frozen=True)
class Plot:
    """What happens beside the reports: a town's desk sleeps, the city asks a roll call, one village is silent."""

    asleep: str
    towns: tuple[str, ...]
    asks_at: datetime
    asked: str
    question: str
    due: timedelta
    silent: str


def load(run: str, started: datetime, drill_id: str) -> list[Step]:
    """The night as steps in the order of sending, all of them part of one drill.

    Ids are UUIDs of version 7 made of `started` and of `run`, so that a second replay on the same server (another
    `run`) conflicts with nothing, while the same run always has the same ids.
    """
    steps = []
    for number, told in enumerate(tell()):
        own = {"id": str(report_id(run, number, started)), "drill_id": drill_id}
        step = Step(told.at, told.node, {**own, **told.body})
        steps.append(step)
        if told.resent is not None:
            steps.append(replace(step, at=told.at + told.resent))
    return sorted(steps, key=lambda step: step.at)


def report_id(run: str, number: int, started: datetime) -> UUID:
    """A UUIDv7 (RFC 9562 section 5.7): `started` in milliseconds, then bits of a hash of the run and the number."""
    milliseconds = int(started.timestamp() * 1000)
    noise = int.from_bytes(hashlib.sha256(f"{run}/{number}".encode()).digest()[:10])
    value = (milliseconds << 80) | noise
    value = value & ~(0xF << 76) | (0x7 << 76)  # version
    value = value & ~(0x3 << 62) | (0x2 << 62)  # variant
    return UUID(int=value)


@cache
def tell() -> tuple[Told, ...]:
    """The script's reports, expanded, in order of sending: the same every time."""
    script = tomllib.loads(SCRIPT.read_text("utf-8"))
    draw = random.Random(script["seed"])  # noqa: S311 - wording, not secrecy
    told = [*_from_villages(script, draw), *_from_towns(script)]
    return tuple(sorted(told, key=lambda one: one.at))


@cache
def plot() -> Plot:
    """What the script says of roll call and towns."""
    script = tomllib.loads(SCRIPT.read_text("utf-8"))
    asks = script["roll_call"]
    return Plot(
        asleep=script["asleep"],
        towns=tuple(town["code"] for town in script["town"]),
        asks_at=_moment(script["begins"], asks["at"]),
        asked=asks["town"],
        question=script["mark"] + asks["question"],
        due=timedelta(minutes=asks["due_minutes"]),
        silent=asks["silent"],
    )


@cache
def office_names() -> dict[str, str]:
    """Code to the office's name as people say it: 口子村, not 口子村委会."""
    with NODES.open(encoding="utf-8", newline="") as lines:
        return {row["code"]: _spoken(row["name"]) for row in DictReader(lines)}


def _spoken(name: str) -> str:
    return re.sub(r"村?(村委会|村民委员会)$|(居委会|居民委员会)$", lambda found: "村" if found[1] else "", name)


def _from_villages(script: dict[str, Any], draw: random.Random) -> Iterator[Told]:
    courses = {course["name"]: course["beat"] for course in script["course"]}
    names = office_names()
    repeats = {(one["code"], one["beat"]): timedelta(minutes=one["after"]) for one in script["repeat"]}
    for village in script["villages"]["list"]:
        start = _moment(script["begins"], village["start"])
        for place, beat in enumerate(courses[village["course"]]):
            observed = start + timedelta(minutes=beat["after"])
            submitted = observed + timedelta(minutes=draw.randint(1, 4), seconds=draw.randrange(60))
            late = False
            if "silent" in village:
                lost, back = (_moment(script["begins"], clock) for clock in village["silent"])
                late = lost <= submitted < back
                if late:
                    # what waited is sent in its own order, a minute apart
                    submitted = back + timedelta(minutes=place)
            figures = _village_figures(beat, village)
            river, river_en = RIVERS[village["river"]]
            words = {
                "village": names[village["code"]],
                "river": river,
                "river_en": river_en,
                "place": village["place"],
                "greenhouses": round(figures.get("crop_area_affected_ha", 0) * GREENHOUSES_PER_HECTARE),
                **figures,
            }
            description = draw.choice(beat["description"]).format_map(words)
            if place == 0:
                description += village.get("note", "")
            english = beat["english"].format_map(words)
            yield Told(
                at=submitted,
                node=village["code"],
                thread=beat["thread"],
                body=_body(
                    script,
                    beat,
                    node=village["code"],
                    observed=observed,
                    submitted=submitted,
                    summary=draw.choice(beat["summary"]).format_map(words),
                    description=description + (script["late"] if late else ""),
                    english=english + (script["late_en"] if late else ""),
                    figures=figures,
                ),
                resent=repeats.get((village["code"], place)),
            )


def _from_towns(script: dict[str, Any]) -> Iterator[Told]:
    names = office_names()
    for town in script["town"]:
        for report in town["reports"]:
            submitted = _moment(script["begins"], report["at"])
            observed = submitted - timedelta(minutes=5)
            if "observed" in report:
                observed = datetime.combine(submitted, time.fromisoformat(report["observed"]), submitted.tzinfo)
            yield Told(
                at=submitted,
                node=town["code"],
                thread=report["thread"],
                body=_body(
                    script,
                    report,
                    node=town["code"],
                    observed=observed,
                    submitted=submitted,
                    summary=f"{names[town['code']]}：{report['summary']}",
                    description=report["description"],
                    english=report["english"],
                    figures=report.get("figures", {}),
                ),
            )


def _body(
    script: dict[str, Any],
    told: dict[str, Any],
    *,
    node: str,
    observed: datetime,
    submitted: datetime,
    summary: str,
    description: str,
    english: str,
    figures: dict[str, int | float],
) -> dict[str, Any]:
    urgency, severity, certainty = told["triad"]
    return {
        "kind": told["kind"],
        "node": node,
        "hazard": told["hazard"],
        "urgency": urgency,
        "severity": severity,
        "certainty": certainty,
        "observed_at": observed.isoformat(),
        "submitted_at": submitted.isoformat(),
        "summary": script["mark"] + summary,
        "description": f"{script['mark']}{description}\n{script['mark_en']} {english}",
        "figures": figures,
    }


def _village_figures(beat: dict[str, Any], village: dict[str, Any]) -> dict[str, int | float]:
    people: dict[str, int | float] = {}
    for part in ("share", "homes"):
        people |= {name: round(share * village["people"]) for name, share in beat.get(part, {}).items()}
    crops = {name: round(share * village["hectares"], 1) for name, share in beat.get("crops", {}).items()}
    return people | crops


def _moment(begins: datetime, clock: str) -> datetime:
    """The first time after the night's beginning that the wall clock shows `clock` (HH:MM)."""
    moment = datetime.combine(begins, time.fromisoformat(clock), begins.tzinfo)
    return moment if moment >= begins else moment + timedelta(days=1)
