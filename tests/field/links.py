"""Bad links, decided by a seed: requests that never arrive, answers that get lost, things that come twice or late."""

import random
from dataclasses import dataclass, field

import httpx


@dataclass(frozen=True)
class Faults:
    """How often each fault befalls a request, from 0 to 1; at most one befalls each."""

    drop_request: float = 0.0
    drop_answer: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0

    def draw(self, rng: random.Random) -> str | None:
        """The fault of the next request, or none."""
        value = rng.random()
        for name in ("drop_request", "drop_answer", "duplicate", "delay"):
            value -= getattr(self, name)
            if value < 0:
                return name
        return None


@dataclass
class LossyTransport(httpx.AsyncBaseTransport):
    """A device's link to the server behind `inner`. It never sleeps: what is late comes after later requests.

    drop_request: it never arrives. drop_answer: it arrives, the answer does not come back. duplicate: the server gets
    it twice; one of both answers comes back. delay: the device is told of a timeout, and it arrives after some of the
    device's next requests (`late_after` at most), or at `deliver_late()`.
    `seen` and `faults_seen` count what befell. With `down` nothing arrives at all.
    """

    inner: httpx.AsyncBaseTransport
    rng: random.Random
    faults: Faults = Faults()
    late_after: int = 4
    down: bool = False
    seen: int = 0
    befell: list[str] = field(default_factory=list)
    _late: list[tuple[int, httpx.Request]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.seen += 1
        if self.down:
            raise httpx.ConnectError("no signal", request=request)
        fault = self.faults.draw(self.rng)
        if fault:
            self.befell.append(fault)
        response = await self._arrive(request, fault)
        await self._deliver(self.seen)
        if response is None:
            raise self._loss(request, fault)
        return response

    async def deliver_late(self) -> int:
        """All that is still under way arrives now; how many requests that were."""
        return await self._deliver(None)

    async def aclose(self) -> None:
        await self.inner.aclose()

    async def _arrive(self, request: httpx.Request, fault: str | None) -> httpx.Response | None:
        if fault == "drop_request":
            return None
        if fault == "delay":
            self._late.append((self.seen + self.rng.randint(1, self.late_after), request))
            return None
        response = await self._send(request)
        if fault == "duplicate":
            again = await self._send(request)
            return self.rng.choice((response, again))
        return None if fault == "drop_answer" else response

    async def _deliver(self, until: int | None) -> int:
        arriving = [one for one in self._late if until is None or one[0] <= until]
        self._late = [one for one in self._late if one not in arriving]
        for _, request in arriving:
            await self._send(request)
        return len(arriving)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        # Anew each time: a request's stream may be read once only.
        copy = httpx.Request(request.method, request.url, headers=request.headers, content=request.content)
        response = await self.inner.handle_async_request(copy)
        content = await response.aread()
        headers = [(k, v) for k, v in response.headers.multi_items() if k.lower() != "content-encoding"]
        return httpx.Response(response.status_code, headers=headers, content=content, request=request)

    def _loss(self, request: httpx.Request, fault: str | None) -> httpx.TransportError:
        if fault == "drop_request" and self.rng.random() < 0.5:
            return httpx.ConnectTimeout("no signal", request=request)
        if fault == "delay":
            return httpx.ReadTimeout("no answer in time", request=request)
        return httpx.ReadError("the link broke", request=request)
