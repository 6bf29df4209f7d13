import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from app.core.clock import Clock
from app.field import answers, device_clock, files, link, retrying, settling, wire
from app.field.answers import Verdict
from app.field.link import Progress
from app.field.outbox import Outbox, Step
from app.field.session import Session

# What a desk holds is looked after this often, also when nobody reads the changes.
PARKED = timedelta(hours=1)


@dataclass(frozen=True)
class Courier:
    """Carries the outbox to the server. It never sleeps: it says when to come again.

    `most` and `most_bytes` bound a batch, `chunk` a piece of a file: on a bad link what is small arrives.
    """

    outbox: Outbox
    client: httpx.AsyncClient
    session: Session
    clock: Clock
    rng: random.Random
    most: int = 50
    most_bytes: int = 64 * 1024
    chunk: int = 32 * 1024

    async def flush(self) -> Progress:
        """Send all that is due: until nothing is, or the link or the sign-in fails."""
        asked = False
        while True:
            done = await self.step()
            if not done.asked or done.needs_sign_in:
                return Progress(asked, done.retry_at, done.needs_sign_in)
            asked = True

    async def step(self) -> Progress:
        """One exchange with the server, about what is due first; `asked` is False when nothing is due now."""
        now = self.clock.now()
        if link.rests_until(self.outbox.store, now) is not None:
            return Progress(False, self.outbox.next_at())
        due = self.outbox.due(now, most=self.most)
        if not due:
            return Progress(False, self.outbox.next_at())
        signed_in = await (self._alone(due[0]) if due[0].alone else self._together(self._batch(due)))
        return Progress(True, self.outbox.next_at() if signed_in else None, needs_sign_in=not signed_in)

    async def _alone(self, step: Step) -> bool:
        try:
            if step.kind == "attachment":
                response = await link.ask(self.client, self.session, files.piece(self.client, step, most=self.chunk))
                verdict = files.verdict(step, response.status_code, response.content)
            else:
                response = await link.ask(self.client, self.session, _request(self.client, step))
                verdict = answers.single(
                    response.status_code, response.content, report_id=step.report_id, parked=step.parked
                )
        except httpx.RequestError:
            self._rest()
            return True
        if verdict.word == "link":
            self._rest(response)
            return True
        link.works(self.outbox.store)
        return self._settle(step, verdict)

    async def _together(self, steps: Sequence[Step]) -> bool:
        items = [_item(step) for step in steps]
        request = self.client.build_request(
            "POST",
            "/v1/reports/batch",
            content=b'{"reports":[' + b",".join(items) + b"]}",
            headers={"Content-Type": "application/json"},
        )
        try:
            response = await link.ask(self.client, self.session, request)
        except httpx.RequestError:
            self._rest()
            return True
        body = answers.parsed(response.content)
        results = body.get("results") if body and response.status_code == 200 else None
        if not isinstance(results, list) or len(results) != len(steps):
            return self._whole(steps, response, body)
        link.works(self.outbox.store)
        for step, result in zip(steps, results, strict=True):
            verdict = answers.item(result, report_id=step.report_id, parked=step.parked)
            if not self._settle(step, verdict):
                return False
        return True

    def _whole(self, steps: Sequence[Step], response: httpx.Response, body: Mapping[str, Any] | None) -> bool:
        """The batch itself was not taken."""
        verdict = answers.failure(response.status_code, body)
        if verdict.word == "sign_in":
            return False
        if verdict.word == "link":
            self._rest(response)
        else:
            settling.apart(self.outbox.store, steps)
        return True

    def _settle(self, step: Step, verdict: Verdict) -> bool:
        """Note what became of it; False: a sign-in is needed first."""
        store, now = self.outbox.store, self.clock.now()
        match verdict.word:
            case "stored" | "held":
                there = answers.clock(verdict.answer) if verdict.is_new else None
                if there is not None:
                    device_clock.learn(store, there=there, here=now)
                settling.settle(store, step, verdict.word, verdict.answer)
            case "conflict":
                settling.conflict(store, step, verdict.answer)
            case "refused":
                settling.refused(store, step, verdict.answer)
            case "part":
                settling.part(store, step, received=int(verdict.answer["received"]))
            case "later":
                settling.again(store, step, at=now + PARKED)
            case "again" | "link":
                if verdict.answer.get("code") == "digest_wrong":
                    settling.part(store, step, received=0)
                at = retrying.next_at(step.tries + 1, now=now, draw=self.rng.random())
                settling.again(store, step, at=at)
            case "sign_in":
                return False
        return True

    def _rest(self, response: httpx.Response | None = None) -> None:
        link.rest(self.outbox.store, clock=self.clock, rng=self.rng, response=response)

    def _batch(self, due: Sequence[Step]) -> list[Step]:
        """As many as go together, at least one."""
        found: list[Step] = []
        size = 0
        for step in due:
            size += len(step.body)
            if step.alone or (found and size > self.most_bytes):
                break
            found.append(step)
        return found


def _request(client: httpx.AsyncClient, step: Step) -> httpx.Request:
    headers = {"Content-Type": "application/json"}
    if step.kind == "first":
        return client.build_request("POST", "/v1/reports", content=step.body, headers=headers)
    headers["If-Match"] = f'"{step.base}"'
    return client.build_request("PUT", f"/v1/reports/{step.report_id}", content=step.body, headers=headers)


def _item(step: Step) -> bytes:
    if step.kind == "first":
        return step.body
    return wire.with_base(step.body, step.base)
