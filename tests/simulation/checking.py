"""After a run: what the server holds is what the ledger says, each thing once."""

from collections import Counter
from typing import Any

from app.hazards.cap import Level
from app.reports import handover
from tests.simulation import reckoning
from tests.simulation.night import Night, ask, figures

SAID = ("kind", "node", "hazard", "urgency", "severity", "certainty", "observed_at", "submitted_at", "summary")


async def check(night: Night) -> Counter[str]:
    """Raises AssertionError with the first difference; else counts what was compared."""
    stored = await everything(night, "/v1/reports")
    counted = Counter(reports=len(stored), arrivals=sum(night.witness.words.values()), **night.witness.words)
    await _reports(night, stored)
    await _held(night, stored)
    _told(night, {one["id"] for one in stored})
    await _incidents(night, stored)
    await _devices(night, stored)
    return counted + night.acts


async def everything(night: Night, path: str, **query: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        params = {"limit": "500", **query, **({"cursor": cursor} if cursor else {})}
        answer = await ask(night, "GET", path, params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found


async def _reports(night: Night, stored: list[dict[str, Any]]) -> None:
    ids = Counter(one["id"] for one in stored)
    assert ids == Counter(night.ledger.reports.keys()), "not each report exactly once"
    for one in stored:
        known = night.ledger.reports[one["id"]]
        last = known.versions[-1]
        assert one["version"] == len(known.versions), one
        for name in SAID:
            if name == "summary" and name not in last:
                continue
            right = last.get(name, {"kind": "initial", "observed_at": last["submitted_at"]}.get(name))
            assert one[name] == right, (one["id"], name, one[name], right)
        assert one["figures"] == last.get("figures", {}), one
        assert one["level"] not in ("red", "orange") or one["alert_id"], one
        assert one["custody"], one
    corrected = [one for one in stored if one["version"] > 1]
    for one in night.rng.sample(corrected, min(5, len(corrected))):
        answer = await ask(night, "GET", f"/v1/reports/{one['id']}/versions")
        told = [version["submitted_at"] for version in answer.json()["items"]]
        assert told == [version["submitted_at"] for version in night.ledger.reports[one["id"]].versions]


async def _held(night: Night, stored: list[dict[str, Any]]) -> None:
    """Each report is with an office, and nothing waits for one that is no more."""
    await handover.run_due(night.app.state.database, clock=night.clock)
    offices = {one["code"] for one in await everything(night, "/v1/nodes")}
    waits = [(one["report_id"], one["node"]) for one in await everything(night, "/v1/custody", overdue="true")]
    assert all(node in offices for _, node in waits), [one for one in waits if one[1] not in offices]
    for one in stored:
        assert any(held["state"] != "forwarded" for held in one["custody"]), one
    night.acts["overdue"] += len(waits)


def _told(night: Night, stored: set[str]) -> None:
    """What a device was told, and what it keeps as answered, is so."""
    for report_id, words in night.witness.told.items():
        if words & {"created", "replayed", "updated"}:
            assert report_id in stored, f"told as stored, and lost: {report_id}"
    for phone in night.phones:
        for report_id in phone.wrote:
            state = phone.device.outbox.report(report_id)["state"]
            assert state != "waiting", (report_id, phone.device.outbox.report(report_id))
            if state == "stored":
                assert report_id in stored
            if state == "refused" and report_id in stored:
                # A desk refused it, or the server did; then it came another way, or its office stood again.
                assert "rejected" in night.witness.told[report_id] or any(
                    one.state == "rejected" for key, one in night.ledger.held.items() if key[0] == report_id
                )


async def _incidents(night: Night, stored: list[dict[str, Any]]) -> None:
    found = {one["id"]: one for one in await everything(night, "/v1/incidents")}
    held = Counter(one["incident_id"] for one in stored)
    assert held == Counter({one["id"]: one["reports"] for one in found.values() if one["reports"]})
    known = {one["id"]: night.ledger.reports[one["id"]] for one in stored}
    for incident_id in held:
        answer = await ask(night, "GET", f"/v1/incidents/{incident_id}/figures")
        assert answer.status_code == 200, answer.text
        said = [known[one["id"]] for one in stored if one["incident_id"] == incident_id]
        ids = [one["id"] for one in stored if one["incident_id"] == incident_id]
        right = reckoning.incident(night.ledger, dict(zip(ids, said, strict=True)))
        told = {
            row["office"]["code"]: {one["figure"]: one["value"] for one in row["figures"]}
            for row in answer.json()["rows"]
            if row["figures"]
        }
        assert told == right, (incident_id, told, right)
    # Nobody closed an alert: whatever was merged, split and corrected, one as grave is open for each urgent incident.
    alerts = await everything(night, "/v1/alerts", state="raised")
    grave = {one["incident_id"]: Level(one["level"]).rank for one in alerts}
    assert len(grave) == len(alerts), "an incident with two open alerts"
    night.acts["alerts"] += len(alerts)
    for one in stored:
        if one["level"] in ("red", "orange"):
            assert grave.get(one["incident_id"], 0) >= Level(one["level"]).rank, one
    for at, then in night.remembered:
        # A change of the tree holds for its whole day, also for the hours before it was made.
        if not night.ledger.changed_later_that_day(at):
            now = await figures(night, as_of=at)
            assert now == then, (at, {code: (now.get(code), then.get(code)) for code in now.keys() | then.keys()})
            night.acts["moments"] += 1


async def _devices(night: Night, stored: list[dict[str, Any]]) -> None:
    """Each device that may still read has what the server shows it, each change once."""
    for phone in night.phones:
        if phone.sign_in.node in night.ledger.offices and night.ledger.lapse_of(phone.sign_in.token) is not None:
            continue
        done = await phone.device.inbox.sync()
        assert not done.needs_sign_in
        listed: list[str] = []
        cursor = None
        while True:
            answer = await night.desk.get(
                "/v1/reports",
                params={"limit": "500", **({"cursor": cursor} if cursor else {})},
                headers={"Authorization": f"Bearer {phone.sign_in.token}"},
            )
            listed += [f"{one['id']} {one['version']}" for one in answer.json()["items"]]
            cursor = answer.json()["next"]
            if cursor is None:
                break
        seen = [f"{one['id']} {one['version']}" for one in phone.device.inbox.reports() if one.get("version")]
        assert sorted(listed) == sorted(seen), phone.sign_in.node
