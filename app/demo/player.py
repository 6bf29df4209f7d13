import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from app.demo.keys import AT_ONCE, Keys
from app.demo.link import Sleep, connect
from app.demo.night import Step
from app.demo.phone import Phone

URGENT = ("red", "orange")


@dataclass
class Tally:
    """What became of the script so far. It is read while the player runs."""

    total: int = 0
    clock: datetime | None = None
    statuses: Counter[int] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)
    replays: int = 0
    masked: int = 0
    retries: int = 0
    failures: list[str] = field(default_factory=list)
    raised: dict[str, float] = field(default_factory=dict)
    """Alert id to the moment (of `now`) at which its first urgent report of this run was answered 201."""
    latest: dict[str, str] = field(default_factory=dict)
    """Office to the id of the last report of it that was stored."""
    heard: dict[tuple[str, datetime], datetime] = field(default_factory=dict)
    """Office and the moment (the server's) at which a report of it was received, to the script's clock then."""

    @property
    def answered(self) -> int:
        """Sendings answered with 2xx."""
        return sum(count for status, count in self.statuses.items() if status < 300)

    @property
    def urgent(self) -> int:
        """New reports of this run at level red or orange."""
        return sum(self.levels[level] for level in URGENT)


@dataclass(frozen=True)
class Act:
    """Something else that happens at a time of the script; it holds the script up until it is done, or not."""

    at: datetime
    do: Callable[[], Awaitable[None]]
    holds: bool


async def play(
    base_url: str,
    *,
    steps: Sequence[Step],
    acts: Sequence[Act] = (),
    keys: Keys,
    speed: float,
    tally: Tally,
    transport: httpx.AsyncBaseTransport | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Send every step as its own office, at the script's pace divided by `speed` (0: as fast as answers come).

    An office's reports are sent in their order, and an act begins when all reports before it have been answered. What
    happens is written to `tally`.
    """
    tally.total = len(steps)
    script: list[Step | Act] = sorted([*steps, *acts], key=lambda one: one.at)
    async with connect(base_url, transport=transport) as field_office, asyncio.TaskGroup() as sending:
        slots = asyncio.Semaphore(AT_ONCE)
        turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        under_way: set[asyncio.Task[None]] = set()
        phones: dict[str, Phone] = {}

        async def note(response: httpx.Response) -> None:
            for phone in phones.values():
                phone.answered(response.request, response.status_code)

        field_office.event_hooks["response"].append(note)
        begun = now()

        async def post(step: Step) -> None:
            try:
                # a lock is fair, so an office's reports keep their order
                async with turns[step.node]:
                    if step.node not in phones:
                        phones[step.node] = Phone(field_office, keys.headers(step.node), now=now, sleep=sleep)
                    await _post(phones[step.node], step, tally, now)
            finally:
                slots.release()

        for one in script:
            due = begun + (one.at - script[0].at).total_seconds() / speed if speed else begun
            if due > now():
                await sleep(due - now())
            if isinstance(one, Act):
                if under_way:
                    await asyncio.wait(under_way)
                tally.clock = one.at
                doing = sending.create_task(_do(one))
                if one.holds:
                    await doing
                continue
            await slots.acquire()
            tally.clock = one.at
            task = sending.create_task(post(one))
            under_way.add(task)
            task.add_done_callback(under_way.discard)


async def _do(act: Act) -> None:
    await act.do()


async def _post(phone: Phone, step: Step, tally: Tally, now: Callable[[], float]) -> None:
    def retried() -> None:
        tally.retries += 1

    answer = await phone.tell(step.body, on_retry=retried)
    if answer.status is None:
        tally.failures.append(f"{step.node} {step.body['id']}: no answer")
        return
    tally.statuses[answer.status] += 1
    report = answer.report
    if report is None:
        tally.failures.append(f"{step.node} {step.body['id']}: {answer.status} {answer.detail}")
        return
    tally.latest[step.node] = report["id"]
    tally.heard.setdefault((step.node, datetime.fromisoformat(report["received_at"])), step.at)
    if answer.status == 201:
        _count(report, tally, now())
    else:
        tally.replays += 1


def _count(report: Mapping[str, Any], tally: Tally, moment: float) -> None:
    tally.levels[report["level"]] += 1
    tally.masked += report["masked"]
    if report["level"] in URGENT:
        # None would break the promise of the service; it then shows as an alert nobody ever saw
        tally.raised.setdefault(str(report["alert_id"]), moment)
