"""One run: fifty devices on bad links for some days, offices and sign-ins changing meanwhile. All from one seed."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from app.core.clock import ManualClock
from app.core.database import Database
from app.field import wire
from tests.field.devices import URL, Device, device
from tests.field.links import Faults
from tests.simulation import city
from tests.simulation.city import Place, SignIn
from tests.simulation.ledger import Ledger, Person
from tests.simulation.witness import Witness

HAZARDS = ("flood.river", "flood.embankment", "fire.building", "service.water")
FIGURES = ("affected", "trapped", "relocated", "houses_damaged", "crop_area_affected_ha")
TRIADS = (
    ("Immediate", "Extreme", "Observed"),
    ("Expected", "Severe", "Likely"),
    ("Future", "Minor", "Possible"),
    ("Unknown", "Unknown", "Unknown"),
)
ROUNDS = 40
# A night and a morning: what is written on one day may arrive on the next.
MINUTES_A_ROUND = (5, 40)


@dataclass
class Phone:
    """A device, and who carries it."""

    device: Device
    sign_in: SignIn
    speaks_for: tuple[str, ...]
    wrote: list[str] = field(default_factory=list)


@dataclass
class Night:
    """The state of one run."""

    app: FastAPI
    clock: ManualClock
    rng: random.Random
    place: Place
    ledger: Ledger
    witness: Witness
    phones: list[Phone]
    desk: httpx.AsyncClient
    begun_at: datetime
    acts: Counter[str] = field(default_factory=Counter)
    merged: list[str] = field(default_factory=list)
    joined: list[str] = field(default_factory=list)
    """Incidents that the desk merged into others."""
    remembered: list[tuple[datetime, dict[str, Any]]] = field(default_factory=list)
    """The city's figures at some moments of the run."""


async def begin(app: FastAPI, clock: ManualClock, *, seed: int) -> Night:
    """A new city with its devices."""
    rng = random.Random(seed)
    database: Database = app.state.database
    # Each run begins on a morning of its own.
    now = clock.now()
    clock.advance(timedelta(days=1) - timedelta(hours=now.hour, minutes=now.minute, seconds=now.second))
    async with database.writing() as conn:
        place = await city.found(conn, rng=rng, now=clock.now())
    ledger = Ledger(place.code)
    for town in place.towns:
        ledger.open(town.code, "town", place.code, clock.now())
        for village in town.villages:
            ledger.open(village, "village", town.code, clock.now())
    ledger.open(place.code, "city", place.code, clock.now())
    witness = Witness(httpx.ASGITransport(app, raise_app_exceptions=False), ledger, clock)
    desk = httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url=URL)
    night = Night(app, clock, rng, place, ledger, witness, [], desk, clock.now())
    below = {town.code: town.villages for town in place.towns}
    for sign_in in place.phones:
        night.phones.append(carried(night, sign_in, (sign_in.node, *below.get(sign_in.node, ()))))
    return night


def carried(night: Night, sign_in: SignIn, speaks_for: tuple[str, ...]) -> Phone:
    """A phone with its own link, from fair to bad."""
    night.ledger.people[sign_in.token] = Person(sign_in.node)
    badness = night.rng.choice((0.05, 0.15, 0.3))
    faults = Faults(drop_request=badness, drop_answer=badness / 2, duplicate=badness / 2, delay=badness / 2)
    made = device(
        night.witness, clock=night.clock, session=sign_in.token, seed=night.rng.randrange(2**32), faults=faults
    )
    return Phone(made, sign_in, speaks_for)


async def live(night: Night, *, rounds: int = ROUNDS) -> None:
    """Let it happen, then let everything arrive."""
    for _ in range(rounds):
        night.clock.advance(timedelta(minutes=night.rng.randint(*MINUTES_A_ROUND)))
        await _round(night)
    await settle(night)


async def settle(night: Night) -> None:
    """The links are good again: what was written arrives, and the desk decides on all that is held."""
    night.clock.advance(timedelta(minutes=1))
    for phone in night.phones:
        phone.device.link.down = False
        phone.device.link.faults = Faults()
        await phone.device.link.deliver_late()
    for _ in range(3):
        for phone in night.phones:
            for _ in range(60):
                done = await phone.device.wake()
                if done.retry_at is None or phone.device.outbox.waiting() == 0:
                    break
                rest = done.retry_at - night.clock.now()
                if rest > timedelta(minutes=10):
                    # It waits for a desk.
                    break
                night.clock.advance(max(timedelta(seconds=1), rest))
        await decide(night, share=1.0)
        night.clock.advance(timedelta(hours=2))


async def _round(night: Night) -> None:
    rng = night.rng
    for phone in rng.sample(night.phones, rng.randint(0, 4)):
        write(night, phone)
    for phone in rng.sample(night.phones, 2):
        phone.device.link.down = rng.random() < 0.4
    if rng.random() < 0.5:
        correct(night, rng.choice(night.phones))
    # What happens at one moment happens at once.
    await asyncio.gather(*(phone.device.wake() for phone in rng.sample(night.phones, rng.randint(1, 6))))
    if rng.random() < 0.3:
        await rng.choice(night.phones).device.inbox.sync()
    if rng.random() < 0.15:
        await decide(night, share=0.6)
    for act, chance in ACTS:
        if rng.random() < chance:
            night.acts[act.__name__] += await act(night)


def write(night: Night, phone: Phone) -> None:
    """Somebody types a report: of his own office, or of one that was under it when the list was printed."""
    rng = night.rng
    node = phone.sign_in.node if rng.random() < 0.8 else rng.choice(phone.speaks_for)
    urgency, severity, certainty = rng.choice(TRIADS)
    body = {
        "kind": rng.choice(("initial", "initial", "followup", "final")),
        "node": node,
        "hazard": rng.choice(HAZARDS),
        "urgency": urgency,
        "severity": severity,
        "certainty": certainty,
        "observed_at": wire.moment(night.clock.now() - timedelta(minutes=rng.randint(0, 90))),
        "summary": f"【演练】{rng.choice(('河水上涨', '堤脚渗水', '停水', '屋顶起火'))}{len(phone.wrote)}",
        "figures": _figures(rng),
    }
    if rng.random() < 0.5:
        body["location"] = {"lat": 36.9 + rng.random() * 0.05, "lon": 118.9 + rng.random() * 0.05}
    urgent = severity == "Extreme"
    phone.wrote.append(phone.device.outbox.put(body, urgent=urgent, tiny_first=urgent and rng.random() < 0.7))


def correct(night: Night, phone: Phone) -> None:
    """Somebody corrects what he wrote, sent or not."""
    if not phone.wrote:
        return
    rng = night.rng
    report_id = rng.choice(phone.wrote)
    changes = {"figures": _figures(rng), "summary": f"【演练】更正{rng.randint(0, 9)}"}
    phone.device.outbox.correct(report_id, changes)
    if rng.random() < 0.3:
        phone.device.outbox.correct(report_id, {"kind": "final", "figures": _figures(rng)})


async def decide(night: Night, *, share: float) -> None:
    """The city's desk lets in or refuses what is held."""
    answer = await ask(night, "GET", "/v1/quarantine", params={"limit": "500"})
    # Reports before their corrections.
    for held in sorted(answer.json()["items"], key=lambda one: one["corrects"] is not None):
        if night.rng.random() > share:
            continue
        key = (held["corrects"] or held["id"], held["base_version"])
        said = None if held["corrects"] is None else _held_body(night, *key, held)
        if night.rng.random() < 0.7:
            answer = await ask(night, "POST", f"/v1/quarantine/{held['id']}/release", json={"note": "【演练】核实"})
            word = night.ledger.release(*key, said, night.clock.now())
            assert (answer.status_code == 200) == (word == "released"), (answer.text, word)
        if night.ledger.find(*key, said).state == "held":
            answer = await ask(night, "POST", f"/v1/quarantine/{held['id']}/reject", json={"note": "【演练】重复"})
            assert answer.status_code == 200, answer.text
            night.ledger.reject(*key, said)


async def disable(night: Night) -> int:
    """An officer leaves: the sign-in is revoked, a successor gets a new phone."""
    phone = night.rng.choice(night.phones)
    if night.ledger.people[phone.sign_in.token].disabled_at is not None:
        return 0
    answer = await ask(night, "POST", f"/v1/accounts/{phone.sign_in.account}/disable")
    assert answer.status_code == 200, answer.text
    night.ledger.people[phone.sign_in.token].disabled_at = night.clock.now()
    database: Database = night.app.state.database
    async with database.writing() as conn:
        new = await city.enlist(
            conn, node=phone.sign_in.node, city_id=night.place.code, role="desk", now=night.clock.now()
        )
    night.phones.append(carried(night, new, phone.speaks_for))
    return 1


async def move(night: Night) -> int:
    """A village comes under another town."""
    village = _open_village(night)
    town = night.rng.choice([one for one in night.place.towns if _is_open(night, one.code)]).code
    if village is None or night.ledger.offices[village].parent == town:
        return 0
    answer = await ask(night, "PATCH", f"/v1/nodes/{village}", json={"parent": town})
    assert answer.status_code == 200, answer.text
    night.ledger.move(village, town, night.clock.now())
    return 1


async def merge(night: Night) -> int:
    """A village, or now and then a town, becomes part of another; some time later it may part again."""
    tier = "village" if night.rng.random() < 0.8 else "town"
    found = [one for one in night.ledger.offices.values() if one.tier == tier and one.closed_at is None]
    if len(found) < 3:
        return 0
    code, into = (one.code for one in night.rng.sample(found, 2))
    answer = await ask(night, "POST", f"/v1/nodes/{code}/merge", json={"into": into})
    assert answer.status_code == 200, answer.text
    night.ledger.merge(code, into, night.clock.now())
    night.merged.append(code)
    return 1


async def part(night: Night) -> int:
    """What was merged stands by itself again."""
    if not night.merged:
        return 0
    code = night.merged.pop(night.rng.randrange(len(night.merged)))
    into = night.ledger.offices[code].became
    answer = await ask(night, "POST", f"/v1/nodes/{into}/split", json={"parts": [{"code": code}]})
    assert answer.status_code == 200, answer.text
    night.ledger.part(code, night.clock.now())
    return 1


async def join(night: Night) -> int:
    """The city's desk finds that two incidents are one."""
    found = (await ask(night, "GET", "/v1/incidents", params={"limit": "50", "state": "open"})).json()["items"]
    found = [one for one in found if one["reports"]]
    if len(found) < 2:
        return 0
    one, other = night.rng.sample(found, 2)
    answer = await ask(
        night, "POST", f"/v1/incidents/{one['id']}/merge", json={"into": other["id"], "reason": "【演练】同一事件"}
    )
    assert answer.status_code == 200, answer.text
    night.joined.append(one["id"])
    return 1


async def separate(night: Night) -> int:
    """It finds that they were two after all."""
    if not night.joined:
        return 0
    alias = night.joined.pop()
    whole = (await ask(night, "GET", f"/v1/incidents/{alias}")).json()["merged_into"]
    if whole is None:
        return 0
    answer = await ask(night, "POST", f"/v1/incidents/{whole}/split", json={"alias": alias, "reason": "【演练】两件事"})
    assert answer.status_code == 200, answer.text
    return 1


async def remember(night: Night) -> int:
    """Somebody writes down the city's figures, under the borders of the moment."""
    night.remembered.append((night.clock.now(), await figures(night)))
    return 1


async def figures(night: Night, *, as_of: datetime | None = None) -> dict[str, Any]:
    """The city's figures under the borders of the moment: by office."""
    params = {
        "from": wire.moment(night.begun_at - timedelta(days=1)),
        "to": wire.moment(night.begun_at + timedelta(days=30)),
        "borders": "then",
        **({"as_of": as_of.isoformat()} if as_of else {}),
    }
    answer = await ask(night, "GET", "/v1/figures", params=params)
    assert answer.status_code == 200, answer.text
    return {
        row["office"]["code"]: {one["figure"]: one["value"] for one in row["figures"]}
        for row in answer.json()["rows"]
        if row["figures"]
    }


ACTS: tuple[tuple[Callable[[Night], Awaitable[int]], float], ...] = (
    (disable, 0.08),
    (move, 0.05),
    (merge, 0.07),
    (part, 0.05),
    (join, 0.12),
    (separate, 0.08),
    (remember, 0.05),
)


async def ask(night: Night, method: str, path: str, **how: Any) -> httpx.Response:
    """The city's own people, on a good line."""
    headers = {"Authorization": f"Bearer {night.place.admin.token}", **how.pop("headers", {})}
    if method == "PATCH":
        headers["If-Match"] = "*"
    return await night.desk.request(method, path, headers=headers, **how)


def _figures(rng: random.Random) -> dict[str, int | float]:
    names = rng.sample(FIGURES, rng.randint(0, 3))
    return {name: round(rng.random() * 50, 1) if name.endswith("_ha") else rng.randint(0, 40) for name in names}


def _held_body(night: Night, report_id: str, base: int, held: dict[str, Any]) -> dict[str, Any]:
    """What the ledger holds of a correction, by what the server shows of it."""
    for (of, version, _), one in night.ledger.held.items():
        said = held["said"]
        if (of, version) == (report_id, base) and (one.body["summary"], one.body.get("figures", {})) == (
            said["summary"],
            said["figures"],
        ):
            return one.body
    raise AssertionError(f"the ledger holds no correction of {report_id} like {held}")


def _is_open(night: Night, code: str) -> bool:
    return night.ledger.offices[code].closed_at is None


def _open_village(night: Night) -> str | None:
    found = [one.code for one in night.ledger.offices.values() if one.tier == "village" and one.closed_at is None]
    return night.rng.choice(found) if found else None
