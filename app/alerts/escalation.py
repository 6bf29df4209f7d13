"""Where an alert stands in its escalation, and what time makes of it: pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.alerts import new_offices
from app.hazards.cap import Level

Row = Mapping[str, Any]

BYPASSED = "escalation.bypass"

# After the plan's last announcement it is announced once in so many repeats, for as long as nobody has it.
RARELY = 6
# An alert from before policies were kept.
UNPLANNED = timedelta(hours=1)

NAMES = {
    "town.desk": ("the town's desk", "乡镇值班室"),
    "town.supervisor": ("the town's supervisor", "乡镇带班领导"),
    "city.desk": ("the city's desk", "市级值班室"),
    "city.supervisor": ("the city's supervisor", "市级带班领导"),
    "channels": ("the notification channels", "通知渠道"),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one level, as the alert keeps them."""

    due: timedelta
    after: tuple[timedelta, ...]
    to: tuple[tuple[str, ...], ...]
    repeat: timedelta | None
    repeats: int

    @property
    def last(self) -> int:
        """The number of the last announcement at the plan's own pace, repeats counted on."""
        return len(self.after) + self.repeats

    @property
    def rarely(self) -> timedelta:
        """How long after that each further one comes: the ladder never gives up."""
        return RARELY * (self.repeat or self.due)


@dataclass(frozen=True, slots=True)
class Standing:
    """The step an alert has reached (from 1), and when the next is due: there always is a next."""

    step: int
    next_at: datetime


@dataclass(frozen=True, slots=True)
class Turn:
    """One change that time makes: what is written to the alert, what it is called, and why."""

    type: str
    changes: Mapping[str, Any]
    text: str
    text_zh: str
    reason: str | None = None


def plan(snapshot: Mapping[str, Any] | None, level: str) -> Plan | None:
    """The plan of a level; None for an alert raised before plans were kept."""
    if snapshot is None or level not in snapshot:
        return None
    found = snapshot[level]
    return Plan(
        due=timedelta(seconds=found["due_s"]),
        after=tuple(timedelta(seconds=step["after_s"]) for step in found["steps"]),
        to=tuple(tuple(step["to"]) for step in found["steps"]),
        repeat=timedelta(seconds=found["repeat_s"]) if found["repeat_s"] else None,
        repeats=found["repeats"],
    )


def reach(plan: Plan, step: int, *, since: datetime, now: datetime) -> Standing:
    """Standing on `step`: a later step counts from `since`, a repeat from now, since it was late for all the same."""
    if step < len(plan.after):
        return Standing(step, since + plan.after[step])
    if step < plan.last and plan.repeat is not None:
        return Standing(step, now + plan.repeat)
    return Standing(step, now + plan.rarely)


def targets(plan: Plan | None, step: int) -> tuple[str, ...]:
    """Whom a step puts the alert before; a repeat puts it before those of the last step."""
    if plan is None or step < 1:
        return ()
    return plan.to[min(step, len(plan.to)) - 1]


def begin(snapshot: Mapping[str, Any], level: str, now: datetime) -> dict[str, Any]:
    """What is written to an alert that is raised, or raised again, now."""
    found = plan(snapshot, level)
    if found is None:
        return {"escalation_step": 0, "escalation_next_at": now + UNPLANNED, "escalation_from": now}
    standing = reach(found, 1, since=now, now=now)
    return {
        "due_at": now + found.due,
        "escalation_step": standing.step,
        "escalation_next_at": standing.next_at,
        "escalation_from": now,
    }


def unowned(row: Row, now: datetime) -> dict[str, Any]:
    """What is written to an alert that loses its owner: it is raised, and begins its steps anew."""
    return {
        "state": "raised",
        "owner": None,
        "last_owner": None,
        "acknowledged_at": None,
        "until": None,
        "gathered_until": None,
        "due_at": now,
        **begin(row["policy"] or {}, row["level"], now),
    }


def asked_again(row: Row, now: datetime) -> dict[str, Any]:
    """What is written to an acknowledged alert that another office raises again: its owner is asked first."""
    changes = unowned(row, now) | {"last_owner": row["owner"], "rearmed_at": now}
    found = plan(row["policy"], row["level"])
    if found is None or row["owner"]["node"] != row["city_id"]:
        return changes
    step = _first_of_city(found)
    since = now - found.after[step - 1]
    standing = reach(found, step, since=since, now=now)
    return changes | {
        "escalation_step": standing.step,
        "escalation_next_at": standing.next_at,
        "escalation_from": since,
    }


def climb(row: Row, now: datetime) -> dict[str, Any]:
    """What is written to a raised alert that goes one step up; on its last step it is announced once more."""
    found = plan(row["policy"], row["level"])
    if found is None:
        return {"escalation_step": row["escalation_step"] + 1, "escalation_next_at": now + UNPLANNED}
    step = row["escalation_step"] + 1
    # No step is the later for its alert having been owned meanwhile.
    since = min(row["escalation_from"] or now, now - found.after[min(step, len(found.after)) - 1])
    standing = reach(found, step, since=since, now=now)
    return {
        "escalation_step": standing.step,
        "escalation_next_at": standing.next_at,
        "escalation_from": since,
    }


def turns(row: Row, now: datetime) -> Iterator[Turn]:
    """All that time has made due for an alert by now, in order; none is skipped."""
    row = dict(row)
    while True:
        turn = _next_turn(row, now)
        if turn is None:
            return
        row |= turn.changes
        yield turn


def _next_turn(row: Row, now: datetime) -> Turn | None:
    if row["state"] == "acknowledged" and row["gathered_until"] is not None and row["gathered_until"] <= now:
        why = new_offices.reason(new_offices.uncovered(row), row["owner"])
        return Turn("alert.rearmed", asked_again(row, now), why["text"], why["text_zh"], why["rule"])
    if row["state"] == "acknowledged" and row["until"] is not None and row["until"] <= now:
        office = row["owner"].get("name") or row["owner"]["node"]
        return Turn(
            "alert.rearmed",
            unowned(row, now),
            f"Raised again: {office} had taken it on until now.",
            f"重新触发：{office}的确认时限已到。",
            "alert.until",
        )
    if row["state"] == "raised" and row["escalation_next_at"] is not None and row["escalation_next_at"] <= now:
        changes = climb(row, now)
        english, chinese = _before_whom(row, changes["escalation_step"])
        return Turn(
            "alert.escalated",
            changes,
            f"Nobody has acknowledged it: step {changes['escalation_step']}, {english}.",
            f"尚无单位确认：第 {changes['escalation_step']} 步，提请{chinese}处置。",
        )
    return None


def bypass(row: Row, office: str, now: datetime) -> Turn:
    """An office did not open a report in time: a raised alert goes at least to the first step that names the city."""
    return Turn(
        "alert.bypassed",
        to_city(row, now),
        f"{office} did not open the report in time: bypassed to the city.",
        f"{office}未按时开阅，已越级提请市级处置。",
        BYPASSED,
    )


def to_city(row: Row, now: datetime) -> dict[str, Any]:
    """What is written to a raised alert that goes at least to the first step that names an office of the city."""
    found = plan(row["policy"], row["level"])
    if row["state"] != "raised" or found is None:
        return {}
    first = _first_of_city(found)
    if row["escalation_step"] >= first:
        return {}
    standing = reach(found, first, since=row["escalation_from"] or now, now=now)
    return {"escalation_step": standing.step, "escalation_next_at": standing.next_at}


def _first_of_city(found: Plan) -> int:
    """The first step that names an office of the city; the last where none does."""
    return next((number for number, to in enumerate(found.to, 1) if any(map(_of_city, to))), len(found.to))


def _of_city(target: str) -> bool:
    return target.startswith("city.")


def _before_whom(row: Row, step: int) -> tuple[str, str]:
    found = targets(plan(row["policy"], row["level"]), step)
    return ", ".join(NAMES[target][0] for target in found), "、".join(NAMES[target][1] for target in found)


def with_reason(row: Row, turn: Turn) -> dict[str, Any]:
    """The turn's changes, with its reason put first among the alert's own where it has one."""
    if turn.reason is None:
        return dict(turn.changes)
    said = {"rule": turn.reason, "text": turn.text, "text_zh": turn.text_zh}
    # One of each kind, but one for each office that was bypassed: it is to find itself there.
    kept = [
        reason
        for reason in row["reasons"]
        if reason["rule"] != turn.reason or (reason["rule"] == BYPASSED and reason != said)
    ]
    return {**turn.changes, "reasons": [said, *kept]}


def raised_again(was: Level, now_is: Level) -> dict[str, str]:
    """The reason of an alert that was acknowledged and got worse."""
    return {
        "rule": "alert.rearmed",
        "text": f"Raised again: {now_is.en} after {was.en} was acknowledged.",
        "text_zh": f"重新触发：{was.zh}确认后升为{now_is.zh}。",
    }
