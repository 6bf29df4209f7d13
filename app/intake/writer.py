import asyncio
import random
from collections import defaultdict, deque
from uuid import UUID
from zlib import crc32

import structlog

from app.core import problems
from app.core.clock import Clock
from app.core.database import Contention, Database, DatabaseAway
from app.core.errors import RETRY_SECONDS, Problem
from app.hazards.policy import Policy
from app.intake.service import AlreadyStored, Result, accept, settle
from app.intake.submission import Submission

log = structlog.get_logger()

GROUP = 64
QUEUE = 5000
TRIES = 20

LANES = 2

_Waiting = tuple[Submission, "asyncio.Future[Result]"]
_Lane = tuple[str, int]


class Writer:
    """Stores submissions in groups: one transaction takes as many as have arrived while the one before ran.

    The more arrive at once, the fewer commits each costs. A submission that fails alone takes no other with it.
    A town's reports go through one lane, one group after another, so that each finds the incident that the one
    before opened. On PostgreSQL lanes overlap: one is at work here while another waits for the database.
    """

    def __init__(self, database: Database, policy: Policy, clock: Clock) -> None:
        self._database = database
        self._policy = policy
        self._clock = clock
        self._lanes = 1 if database.is_sqlite else LANES
        self._towns: dict[str, str] = {}
        self._queues: dict[_Lane, deque[_Waiting]] = defaultdict(deque)
        self._tasks: dict[_Lane, asyncio.Task[None]] = {}
        self._waiting = 0

    async def submit(self, submission: Submission) -> Result:
        """Store one submission, durably; its result. DatabaseAway and Problems (503) mean that it was not stored."""
        if self._waiting >= QUEUE:
            raise Problem(problems.TOO_MANY, seconds=RETRY_SECONDS, headers={"Retry-After": str(RETRY_SECONDS)})
        lane = submission.caller.city_id, self._lane_of(submission.node)
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queues[lane].append((submission, result))
        self._waiting += 1
        if lane not in self._tasks:
            self._tasks[lane] = asyncio.create_task(self._drain(lane))
        return await result

    async def stop(self) -> None:
        """Store what is waiting, then return."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    def _lane_of(self, node: str) -> int:
        # Learnt from what was stored; before that, what the digits of the statistical code say: six of the county,
        # three of the town, three of the village. A wrong guess costs at most an incident to be merged.
        town = self._towns.get(node) or f"{node[:9]}000"
        return crc32(town.encode()) % self._lanes

    async def _drain(self, lane: _Lane) -> None:
        queue = self._queues[lane]
        try:
            while queue:
                group = self._next_group(queue)
                await self._store_group(group)
        finally:
            del self._tasks[lane]
            if not queue:
                del self._queues[lane]

    def _next_group(self, queue: deque[_Waiting]) -> dict[UUID, _Waiting]:
        """The next submissions in order, of the real or of one drill.

        The same id twice stands in two groups, so that the second is a replay.
        """
        group: dict[UUID, _Waiting] = {}
        drill_id = queue[0][0].drill_id
        while queue and len(group) < GROUP and queue[0][0].id not in group and queue[0][0].drill_id == drill_id:
            waiting = queue.popleft()
            group[waiting[0].id] = waiting
        self._waiting -= len(group)
        return group

    async def _store_group(self, group: dict[UUID, _Waiting]) -> None:
        try:
            results = await self._store([submission for submission, _ in group.values()])
        except Exception as error:  # noqa: BLE001  whatever it was, every sender hears of it: nobody waits for ever
            if len(group) > 1 and not isinstance(error, DatabaseAway):
                log.error("a group failed, each is tried alone", reports=len(group), error=type(error).__name__)
                for one in group.items():
                    await self._store_group(dict([one]))
                return
            for _, result in group.values():
                if not result.done():
                    result.set_exception(error)
            return
        for report_id, (submission, result) in group.items():
            found = results[report_id]
            if found.town is not None:
                self._towns[submission.node] = found.town
            if not result.done():
                result.set_result(found)

    async def _store(self, submissions: list[Submission]) -> dict[UUID, Result]:
        results: dict[UUID, Result] = {}
        tries = aways = 0
        while submissions:
            tries += 1
            if tries > TRIES:
                raise DatabaseAway
            try:
                async with self._database.writing() as conn:
                    now = self._clock.now()
                    found = await accept(conn, policy=self._policy, submissions=submissions, now=now)
            except AlreadyStored as known:
                results |= await self._settle([one for one in submissions if one.id in known.ids])
                submissions = [one for one in submissions if one.id not in results]
            except Contention:
                log.info("intake retries", tries=tries)
                # Not in step with the one that was first.
                await asyncio.sleep(random.uniform(0, 0.01 * tries))  # noqa: S311  no secret
            except DatabaseAway:
                # A lost connection is tried once more: the report's own id makes that safe.
                aways += 1
                if aways > 1:
                    raise
            else:
                results |= {one.id: result for one, result in zip(submissions, found, strict=True)}
                break
        return results

    async def _settle(self, submissions: list[Submission]) -> dict[UUID, Result]:
        async with self._database.reading() as conn:
            settled = {one.id: await settle(conn, one) for one in submissions}
        return {report_id: result for report_id, result in settled.items() if result is not None}
