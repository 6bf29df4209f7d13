"""The reference: what a server that loses and doubles nothing would hold and answer, told plainly and slowly."""

import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

LATE = timedelta(days=7)
LOCAL = timezone(timedelta(hours=8))

Body = dict[str, Any]


def _day(at: datetime) -> date:
    return at.astimezone(LOCAL).date()


def _said(body: Body) -> str:
    """What a report says, by which two are the same."""
    said = {key: value for key, value in body.items() if key != "base_version"}
    said.setdefault("observed_at", said["submitted_at"])
    said.setdefault("kind", "initial")
    return json.dumps({key: value for key, value in said.items() if value not in ({}, "", None)}, sort_keys=True)


@dataclass
class Office:
    """A node: whose child it was from which day on, and since when that is known."""

    code: str
    tier: str
    parent: str
    closed_at: datetime | None = None
    became: str | None = None
    """The open office that it is part of."""
    into: str | None = None
    """What it was merged into last, which may be part of another itself by now."""
    held: list[tuple[date, str | None]] = field(default_factory=list)
    """From which day on it stood under what; under nothing: closed."""
    known: list[tuple[datetime, str | None]] = field(default_factory=list)
    """The same, by when it was recorded."""


@dataclass
class Person:
    """A sign-in."""

    node: str
    disabled_at: datetime | None = None


@dataclass
class Stored:
    """A report, with all its versions, the one that stands last."""

    node: str
    filed_by: str
    versions: list[Body]
    since: list[datetime]
    """When each version was known."""


@dataclass
class Held:
    """A report or a correction that waits for a desk."""

    body: Body
    filed_by: str
    base: int | None
    state: str = "held"


@dataclass
class Ledger:
    """The city, the sign-ins and the reports, and what each arrival makes of them."""

    city: str
    offices: dict[str, Office] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    reports: dict[str, Stored] = field(default_factory=dict)
    held: dict[tuple[str, int | None, str], Held] = field(default_factory=dict)
    """By report, corrected version and what is said."""
    refusals: int = 0

    def open(self, code: str, tier: str, parent: str, at: datetime) -> None:
        """A node that was always there."""
        self.offices[code] = Office(code, tier, parent, held=[(date.min, parent)], known=[(at - 100 * LATE, parent)])

    def move(self, code: str, parent: str, at: datetime) -> None:
        """From today on it stands under another."""
        office = self.offices[code]
        office.parent = parent
        office.held.append((_day(at), parent))
        office.known.append((at, parent))

    def merge(self, code: str, into: str, at: datetime) -> None:
        """From today on it is part of another; a town's villages come along."""
        for one in self.below(code):
            self.move(one.code, into, at)
        office = self.offices[code]
        office.closed_at, office.became, office.into = at, into, into
        office.held.append((_day(at), None))
        office.known.append((at, None))
        for one in self.offices.values():
            if one.became == code:
                one.became = into

    def part(self, code: str, at: datetime) -> None:
        """From today on it stands by itself again, with what had been merged into it and came with it."""
        office = self.offices[code]
        back = [one for one in self.below(str(office.became)) if self._came_with(one, office)]
        for one in self.offices.values():
            if one.became == office.became and one is not office and self._part_of(one, code):
                one.became = code
        above = self.offices[office.parent]
        office.parent = above.became or above.code
        office.closed_at = office.became = office.into = None
        office.held.append((_day(at), office.parent))
        office.known.append((at, office.parent))
        for one in back:
            self.move(one.code, code, at)

    def below(self, code: str) -> list[Office]:
        """The open villages of a town."""
        return [
            one
            for one in self.offices.values()
            if one.parent == code and one.closed_at is None and one.tier == "village"
        ]

    def stands(self, code: str) -> str:
        """The open office that a code is part of, or is."""
        return self.offices[code].became or code

    def came_with(self, village: Office) -> Office | None:
        """The merged town that a village came with, while it has not moved on; of several the first."""
        towns = [
            one
            for one in self.offices.values()
            if self._came_with(village, one) and village.parent == self.stands(one.code)
        ]
        return min(towns, key=lambda one: one.closed_at or datetime.max, default=None)

    def _came_with(self, village: Office, town: Office) -> bool:
        """Whether a village stood under a town until that was merged."""
        if town.tier != "town" or town.closed_at is None:
            return False
        day = _day(town.closed_at)
        # The span that ended on that day is the one before the first that began on it.
        before = [parent for since, parent in village.held if since < day]
        return any(since == day for since, _ in village.held) and before[-1:] == [town.code]

    def _part_of(self, office: Office, code: str) -> bool:
        into = office.into
        while into is not None:
            if into == code:
                return True
            into = self.offices[into].into
        return False

    def changed_later_that_day(self, at: datetime) -> bool:
        """Whether the tree changed after a moment, on its day."""
        times = [when for office in self.offices.values() for when, _ in office.known]
        return any(when > at and _day(when) == _day(at) for when in times)

    def path(self, code: str) -> set[str]:
        """A node and the offices above it, as it stands, or last stood."""
        found = {code, self.city}
        if code in self.offices:
            found.add(self.offices[code].parent)
        return found

    def lapse_of(self, token: str) -> datetime | None:
        """Since when a sign-in is good no longer."""
        return self._lapse(self.people[token])

    def _lapse(self, person: Person) -> datetime | None:
        ends = [person.disabled_at]
        if person.node in self.offices:
            ends.append(self.offices[person.node].closed_at)
        return min((end for end in ends if end is not None), default=None)

    def _entitled(self, caller: str, node: str, written: datetime) -> bool:
        office = self.offices[node]
        parents = set()
        for day, parent in office.held:
            if day <= _day(written):
                by_day = parent
        parents.add(by_day)
        for at, parent in office.known:
            if at <= written:
                by_record = parent
        parents.add(by_record)
        parents.discard(None)
        return bool(parents) and caller in {node, self.city, *parents}

    def _may_hold(self, person: Person, body: Body, now: datetime) -> bool:
        written = datetime.fromisoformat(body["submitted_at"])
        lapse = self._lapse(person)
        if lapse is not None and written >= lapse:
            return False
        return written > now - LATE and self._entitled(person.node, body["node"], written)

    def post(self, token: str, body: Body, now: datetime) -> str:
        """What becomes of a report that arrives: the batch's word for it."""
        person, report_id = self.people[token], body["id"]
        stored = self.reports.get(report_id)
        if stored is not None:
            return "replayed" if _said(body) in map(_said, stored.versions) else "conflict"
        office = self.offices[body["node"]]
        here = person.node in self.path(office.code)
        if self._lapse(person) is None and here and office.closed_at is None:
            self.reports[report_id] = Stored(office.code, person.node, [body], [now])
            return "created"
        waiting = self.held.get((report_id, None, ""))
        if waiting is not None and _said(waiting.body) == _said(body):
            return "quarantined"
        if self._may_hold(person, body, now):
            if waiting is not None:
                return "conflict"
            self.held[report_id, None, ""] = Held(body, person.node, None)
            return "quarantined"
        self.refusals += 1
        return "rejected"

    def put(self, token: str, body: Body, base: int, now: datetime) -> str:
        """What becomes of a correction that arrives; `rejected` is also: there is no such report yet."""
        person, report_id = self.people[token], body["id"]
        stored = self.reports.get(report_id)
        waits = self.held.get((report_id, None, ""))
        if stored is None and waits is None:
            return "rejected"
        said = _said(body)
        if self._lapse(person) is not None or person.node not in self.path(body["node"]):
            if stored is not None and said in map(_said, stored.versions):
                return "replayed"
            if (report_id, base, said) in self.held:
                return "quarantined"
            if self._may_hold(person, body, now):
                # It builds on what may still be released; where a desk refused that, a person has to look at it.
                waiting = sum(
                    one.state != "released" and of == report_id and version is not None
                    for (of, version, _), one in self.held.items()
                )
                if base > (len(stored.versions) if stored is not None else 1) + waiting + 1:
                    return "conflict"
                self.held[report_id, base, said] = Held(body, person.node, base)
                return "quarantined"
            self.refusals += 1
            return "rejected"
        if stored is None:
            return "rejected"
        if said == _said(stored.versions[-1]) or (base < len(stored.versions) and said == _said(stored.versions[base])):
            return "replayed"
        if base != len(stored.versions):
            return "conflict"
        stored.versions.append(body)
        stored.since.append(now)
        return "updated"

    def find(self, report_id: str, base: int | None, said: Body | None) -> Held:
        """What is held."""
        return self.held[report_id, base, _said(said) if said else ""]

    def release(self, report_id: str, base: int | None, said: Body | None, now: datetime) -> str:
        """What becomes of what is held when its desk lets it in."""
        held = self.held[report_id, base, _said(said) if said else ""]
        held_base = base or 0
        stored = self.reports.get(report_id)
        if held.state == "rejected":
            return "conflict"
        if base is None:
            if stored is not None and _said(held.body) not in map(_said, stored.versions):
                return "conflict"
            if stored is None:
                self.reports[report_id] = Stored(held.body["node"], held.filed_by, [held.body], [now])
        else:
            if stored is None:
                return "conflict"
            if base > len(stored.versions):
                # What a desk rejected before counts as never said.
                base -= sum(
                    one.state == "rejected" and of == report_id and version is not None and version < held_base
                    for (of, version, _), one in self.held.items()
                )
            done = said is not None and (
                _said(said) == _said(stored.versions[-1])
                or (base < len(stored.versions) and _said(said) == _said(stored.versions[base]))
            )
            if not done and base != len(stored.versions):
                return "conflict"
            if not done:
                stored.versions.append(held.body)
                stored.since.append(now)
        held.state = "released"
        return "released"

    def reject(self, report_id: str, base: int | None, said: Body | None) -> None:
        """Its desk refused it."""
        self.held[report_id, base, _said(said) if said else ""].state = "rejected"
