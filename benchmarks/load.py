"""The load generator, a process of its own: reads one job as JSON on stdin, writes its result as JSON on stdout.

Closed loop: each of a fixed number of keep-alive connections sends its next request when it has the answer to the last.
"""

import asyncio
import gc
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import uvloop
from hdrh.histogram import HdrHistogram

from benchmarks.reports import request_maker

PATIENCE = 20.0  # seconds that the last answers may take

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_LEVEL = re.compile(rb'"level":\s*"(\w+)"')
_BODILESS = (204, 304)

Answer = tuple[int, bytes]


class Malformed(Exception):
    """What came is no answer that this client understands."""


def parse(received: bytes) -> Answer | None:
    """Status and body of one whole HTTP/1.1 answer, or None while it is incomplete. Raises Malformed."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    if not received.startswith(b"HTTP/1.1 ") or not received[9:12].isdigit():
        raise Malformed("no HTTP/1.1 answer")
    status, begin = int(received[9:12]), end + 4
    size = 0
    if status not in _BODILESS:
        length = _LENGTH.search(received, 0, end + 2)
        if length is None:
            raise Malformed("no Content-Length")
        size = int(length[1])
    if len(received) < begin + size:
        return None
    if len(received) > begin + size:
        raise Malformed("more bytes than the answer has")
    return status, received[begin:]


class Run:
    """One measurement: what its connections share."""

    def __init__(self, next_request: Callable[[], bytes], *, expect: int, warmup: float, seconds: float) -> None:
        self.next_request = next_request
        self.expect = expect
        self.begins = time.perf_counter() + warmup
        self.ends = self.begins + seconds
        self.completed = 0
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()
        self.levels: Counter[str] = Counter()
        self.open: set[Connection] = set()
        self.done = asyncio.Event()

    def answered(self, answer: Answer, sent: float, now: float) -> None:
        """Count one answer. A wrong status is an error at any time, also while warming up."""
        status, body = answer
        if status != self.expect:
            self.errors[f"{status}: {body[:300].decode(errors='replace')}"] += 1
            return
        if self.begins <= now < self.ends:
            self.completed += 1
        # By the time of sending, so that a stall at the end is seen.
        if self.begins <= sent < self.ends:
            self.latencies.append(now - sent)
            if level := _LEVEL.search(body):
                self.levels[level[1].decode()] += 1

    def closed(self, connection: "Connection") -> None:
        """This connection sends no more."""
        self.open.discard(connection)
        if not self.open:
            self.done.set()


class Connection(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._received = b""
        self._sent = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, by duck typing
        self._run.open.add(self)
        self._send(self._transport)

    def data_received(self, data: bytes) -> None:
        """Send the next request when the answer is whole."""
        transport = self._transport
        if transport is None:
            return
        self._received += data
        try:
            answer = parse(self._received)
        except Malformed as error:
            self._end(f"malformed answer: {error}")
            return
        if answer is None:
            return
        now = time.perf_counter()
        self._received = b""
        self._run.answered(answer, self._sent, now)
        if now < self._run.ends:
            self._send(transport)
        else:
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed: an error, since an answer was owed."""
        if self._transport is not None:
            self._end("connection lost")

    def _send(self, transport: asyncio.Transport) -> None:
        self._sent = time.perf_counter()
        transport.write(self._run.next_request())

    def _end(self, error: str | None = None) -> None:
        transport, self._transport = self._transport, None
        if error is not None:
            self._run.errors[error] += 1
        if transport is not None:
            transport.close()
        self._run.closed(self)


async def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Do the job; its result."""
    next_request = _requests(job)
    gc.collect()
    gc.disable()
    run = Run(next_request, expect=job["expect"], warmup=job["warmup"], seconds=job["seconds"])
    loop = asyncio.get_running_loop()
    # A fault of this program must not pass for a slow server.
    loop.set_exception_handler(lambda _loop, context: run.errors.update([f"load generator: {context!r}"]))
    cpu: list[float] = []
    loop.call_later(job["warmup"], lambda: cpu.append(time.process_time()))
    loop.call_later(job["warmup"] + job["seconds"], lambda: cpu.append(time.process_time()))
    try:
        for _ in range(job["concurrency"]):
            await loop.create_connection(lambda: Connection(run), "127.0.0.1", job["port"])
    except OSError as error:
        run.errors[f"cannot connect: {error.strerror}"] += 1
        if not run.open:
            run.done.set()
    try:
        async with asyncio.timeout(job["warmup"] + job["seconds"] + PATIENCE):
            await run.done.wait()
    except TimeoutError:
        run.errors[f"no answer within {PATIENCE:.0f} s of the end"] += max(1, len(run.open))
    if not run.completed:
        run.errors["nothing was answered as expected"] += 1
    histogram = HdrHistogram(1, 60_000_000, 3)
    for latency in run.latencies:
        histogram.record_value(round(latency * 1e6))
    return {
        "rps": run.completed / job["seconds"],
        "p50_ms": histogram.get_value_at_percentile(50) / 1000,
        "p99_ms": histogram.get_value_at_percentile(99) / 1000,
        "client_cpu": (cpu[1] - cpu[0]) / job["seconds"] if len(cpu) == 2 else 0.0,
        "levels": run.levels,
        "errors": run.errors,
    }


def _requests(job: dict[str, Any]) -> Callable[[], bytes]:
    if job["method"] == "POST":
        return request_maker(job["path"], job["headers"])
    lines = "".join(f"{name}: {value}\r\n" for name, value in {"Host": "127.0.0.1", **job["headers"]}.items())
    request = f"GET {job['path']} HTTP/1.1\r\n{lines}\r\n".encode()
    return lambda: request


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(json.load(sys.stdin)))))
