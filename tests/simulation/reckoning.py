"""An incident's figures reckoned anew from the ledger, office by office: what the server has to answer."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.simulation.ledger import Ledger, Office, Stored

Value = int | float
Said = tuple[datetime, datetime, str]


def incident(ledger: Ledger, reports: dict[str, Stored]) -> dict[str, dict[str, Value]]:
    """By office and figure, under today's borders; offices without a figure are absent."""
    names = sorted({name for one in reports.values() for name in one.versions[-1].get("figures", {})})
    found: dict[str, dict[str, Value]] = {}
    for office in ledger.offices.values():
        if office.closed_at is not None:
            continue
        values = {name: _amount(ledger, office, name, reports) for name in names}
        told = {name: _number(name, value) for name, value in values.items() if value is not None}
        if told:
            found[office.code] = told
    return found


def _amount(ledger: Ledger, office: Office, name: str, reports: dict[str, Stored]) -> Decimal | None:
    """What an office, with all that is part of it, says of a figure."""
    own = _latest(office, name, reports, final=False)
    final = _latest(office, name, reports, final=True) if office.tier != "village" else None
    speaks = final or own
    merged = [one for one in ledger.offices.values() if one.closed_at is not None and one.into == office.code]
    children = [
        value for one in _children(ledger, office) if (value := _amount(ledger, one, name, reports)) is not None
    ]
    apart, all_merged, below_of_covered = [], [], False
    for one in merged:
        value = _amount(ledger, one, name, reports)
        if value is None:
            continue
        all_merged.append(value)
        assert one.closed_at is not None
        if speaks is None or speaks[0][0] < one.closed_at:
            apart.append(value)
        elif _children_speak(ledger, one, name, reports):
            below_of_covered = True
    if speaks is not None and (final is not None or not (children or below_of_covered)):
        return speaks[1] + sum(apart, Decimal(0))
    parts = children + all_merged
    return sum(parts, Decimal(0)) if parts else None


def _children_speak(ledger: Ledger, office: Office, name: str, reports: dict[str, Stored]) -> bool:
    if any(_amount(ledger, one, name, reports) is not None for one in _children(ledger, office)):
        return True
    merged = [one for one in ledger.offices.values() if one.closed_at is not None and one.into == office.code]
    return any(_children_speak(ledger, one, name, reports) for one in merged)


def _children(ledger: Ledger, office: Office) -> list[Office]:
    """What an office adds up: its villages, but for those that count to the part they came with."""
    found = []
    for one in ledger.offices.values():
        if one.code == office.code or (one.closed_at is not None and one.into is not None):
            continue
        came = ledger.came_with(one)
        above = came.code if came is not None else one.parent
        if one.tier != "city" and above == office.code:
            found.append(one)
    return found


def _latest(office: Office, name: str, reports: dict[str, Stored], *, final: bool) -> tuple[Said, Decimal] | None:
    found: list[tuple[Said, Decimal]] = []
    for report_id, one in reports.items():
        said: dict[str, Any] = one.versions[-1]
        if one.node != office.code or name not in said.get("figures", {}):
            continue
        if final and said.get("kind", "initial") != "final":
            continue
        observed = datetime.fromisoformat(said.get("observed_at") or said["submitted_at"])
        key = (observed, datetime.fromisoformat(said["submitted_at"]), report_id)
        found.append((key, Decimal(str(said["figures"][name]))))
    return max(found, default=None)


def _number(name: str, value: Decimal) -> Value:
    return float(value) if name.endswith("_ha") else int(value)
