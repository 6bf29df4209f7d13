import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.core.serving import GRACE_SECONDS, on_stop

CODE = """
import sys
from app.core.serving import serve
serve("tests.core.small:create_app", host="127.0.0.1", port=int(sys.argv[1]), workers=int(sys.argv[2]))
"""
PROJECT = Path(__file__).parents[2]


@contextmanager
def serving(tmp_path: Path, workers: int = 1) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A real server process of `tests.core.small`, answering; killed at the end if it still lives."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "BEACON_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'small.db'}",
    }
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(port), str(workers)], stderr=log, text=True, env=environment
        )
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 30
            while True:
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline
                try:
                    httpx.get(f"{url}/healthz")
                    break
                except httpx.TransportError:
                    # Until the port is open; the next try is the wait.
                    os.sched_yield()
            yield process, url
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_open_streams_at_once_and_lets_requests_finish(tmp_path: Path, told: signal.Signals) -> None:
    async def scenario(process: subprocess.Popen[str], url: str) -> tuple[list[str], int, float]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            work = asyncio.create_task(client.get("/work"))
            async with client.stream("GET", "/stream") as stream:
                lines = stream.aiter_lines()
                first = await anext(lines)
                process.send_signal(told)
                began = time.monotonic()
                rest = [line async for line in lines if line]
            answer = await work
            await asyncio.to_thread(process.wait, 20)
        return [first, *rest], answer.status_code, time.monotonic() - began

    with serving(tmp_path) as (process, url):
        lines, status, seconds = asyncio.run(scenario(process, url))

    assert lines == ["data: open", "data: end"]
    assert status == 200
    assert seconds < GRACE_SECONDS / 2


def test_several_workers_stop_likewise_and_count_together(tmp_path: Path) -> None:
    async def scenario(process: subprocess.Popen[str], url: str) -> tuple[int, str, list[str]]:
        processes: set[int] = set()
        asked = 0
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            deadline = time.monotonic() + 20
            while len(processes) < 2:
                assert time.monotonic() < deadline
                pair = await asyncio.gather(*(client.get("/busy", headers={"Connection": "close"}) for _ in range(2)))
                processes |= {answer.json()["process"] for answer in pair}
                asked += 2
            metrics = (await client.get("/metrics")).text
            async with client.stream("GET", "/stream") as stream:
                lines = stream.aiter_lines()
                first = await anext(lines)
                process.terminate()
                rest = [line async for line in lines if line]
            await asyncio.to_thread(process.wait, 20)
        return asked, metrics, [first, *rest]

    with serving(tmp_path, workers=2) as (process, url):
        asked, metrics, lines = asyncio.run(scenario(process, url))

    assert f'beacon_requests_total{{method="GET",route="/busy",status="200"}} {asked}.0' in metrics
    assert lines == ["data: open", "data: end"]


def test_every_line_of_the_log_is_json_without_what_was_typed(tmp_path: Path) -> None:
    with serving(tmp_path) as (process, url):
        assert httpx.get(f"{url}/broken", headers={"X-Request-ID": "abc"}).status_code == 500
        process.terminate()
        process.wait(20)

    text = (tmp_path / "log").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert "typed by a person" not in text
    assert [line["event"] for line in lines if line.get("request_id") == "abc"] == ["failure", "request"]
    assert {"event", "level", "timestamp"} <= lines[0].keys()


def test_a_body_over_the_limit_is_answered_by_a_real_server(tmp_path: Path) -> None:
    with serving(tmp_path) as (_process, url), httpx.Client(base_url=url) as client:
        refused = client.post("/notes", content=b"x" * 2_000_000)
        after = client.get("/healthz")

    assert refused.status_code == 413
    assert after.status_code == 200


@pytest.mark.anyio
async def test_without_a_server_a_signal_keeps_its_meaning() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert before is signal.SIG_DFL

    with on_stop(lambda: None):
        assert signal.getsignal(signal.SIGTERM) is before
