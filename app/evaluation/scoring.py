"""How timely the offices of a drill were: pure. It is about offices and their deadlines, never about people."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.evaluation.ledger_figures import Entry, seconds

WEIGHTS = {
    "alerted": 20,
    "carried": 20,
    "opened.town": 10,
    "opened.city": 10,
    "acknowledged": 20,
    "not_bypassed": 10,
    "roll_calls": 10,
}

WORDS = {
    "alerted": ("urgent reports with an alert", "紧急报告已触发警报"),
    "carried": ("alerts carried to the city in time", "警报按时送达市级"),
    "opened.town": ("opened in time by the town", "乡镇按时开阅"),
    "opened.city": ("opened in time by the city", "市级按时开阅"),
    "acknowledged": ("acknowledged in time", "按时确认"),
    "not_bypassed": ("offices that were not bypassed", "未被越级的单位"),
    "roll_calls": ("roll calls answered in time", "按时应答点名"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the whole: of `count`, `in_time` were; `pending` are neither in time nor late yet."""

    name: str
    weight: int
    count: int
    in_time: int
    pending: int = 0

    @property
    def share(self) -> float | None:
        """From 0 to 1; None of none."""
        return self.in_time / self.count if self.count else None


@dataclass(frozen=True, slots=True)
class Asked:
    """One office's part in a roll call."""

    due_at: datetime
    answered_at: datetime | None


def timely(at: datetime | None, due_at: datetime, as_of: datetime) -> bool | None:
    """Whether it happened by its deadline, as known at `as_of`; None: the deadline lies ahead and it may yet."""
    if at is not None and at <= as_of:
        return at <= due_at
    return False if due_at <= as_of else None


def parts(
    entries: Sequence[Entry], due: Mapping[UUID, timedelta], asked: Iterable[Asked], *, as_of: datetime
) -> list[Part]:
    """Every part of the whole, in the order of WEIGHTS; `due` is, by report, the time allowed to acknowledge it."""
    judged: dict[str, list[bool | None]] = {name: [] for name in WEIGHTS}
    offices: dict[str, bool] = {}
    for entry in entries:
        judged["alerted"].append(entry.alert_id is not None)
        for tier, held in entry.held.items():
            if tier == "city":
                judged["carried"].append(timely(entry.carried.get(tier), held.due_at, as_of))
            # Who had the alert when one more report of it came had that report in hand.
            has_it = True if entry.taken.owner == tier else timely(held.opened_at, held.due_at, as_of)
            judged[f"opened.{tier}"].append(has_it)
            bypassed = held.bypassed_at is not None and held.bypassed_at <= as_of
            offices[held.node] = offices.get(held.node, True) and not bypassed
        if entry.report_id in due:
            took = seconds(entry)["acknowledged.any"]
            at = None if took is None else entry.received_at + timedelta(seconds=took)
            judged["acknowledged"].append(timely(at, entry.received_at + due[entry.report_id], as_of))
    judged["not_bypassed"] = list(offices.values())
    judged["roll_calls"] = [timely(one.answered_at, one.due_at, as_of) for one in asked]
    return [_part(name, answers) for name, answers in judged.items()]


def bypassed(entries: Iterable[Entry], *, as_of: datetime) -> list[str]:
    """The codes of the offices that left a report unopened past their time."""
    return sorted(
        {
            held.node
            for entry in entries
            for held in entry.held.values()
            if held.bypassed_at is not None and held.bypassed_at <= as_of
        }
    )


def total(parts: Iterable[Part]) -> float | None:
    """From 0 to 100: the parts' shares, weighted; a part of none is left out. None when all are."""
    known = [(part.weight, part.share) for part in parts if part.share is not None]
    if not known:
        return None
    return round(100 * sum(weight * share for weight, share in known) / sum(weight for weight, _ in known), 1)


def _part(name: str, answers: Sequence[bool | None]) -> Part:
    known = [answer for answer in answers if answer is not None]
    return Part(name, WEIGHTS[name], len(known), sum(known), len(answers) - len(known))
