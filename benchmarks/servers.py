"""The servers that are measured: real processes on 127.0.0.1, with databases in a directory that is removed."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.floor import DATABASE_URL
from benchmarks.reports import CITY, TREE
from tests.bed import postgres

ROOT = Path(__file__).parent.parent
PATIENCE = 30.0  # seconds for a start, or for an orderly stop

UVICORN = [
    *(sys.executable, "-m", "uvicorn", "--factory", "--host", "127.0.0.1", "--workers", "1"),
    *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
]
BEACON = [sys.executable, "-m", "app.cli"]


class Failed(Exception):
    """What should be measured does not run; the message says what and why."""


@dataclass(frozen=True)
class Target:
    """A running server, and what its requests carry."""

    port: int
    headers: dict[str, str]


@contextmanager
def running(names: Set[str], directory: Path) -> Iterator[dict[str, Target]]:
    """The servers of these names (`bare`, `floor sqlite`, `beacon postgresql`, ...), ready; gone at the end.

    Raises Failed with the end of a log, and RuntimeError when there is no PostgreSQL.
    """
    with ExitStack() as stack:
        cluster = None
        if any(name.endswith("postgresql") for name in names):
            cluster = stack.enter_context(postgres.running(durable=True))
        targets = {}
        for name in sorted(names):
            kind, _, database = name.partition(" ")
            log = directory / f"{name.replace(' ', '-')}.log"
            url = ""
            if database == "sqlite":
                url = f"sqlite+aiosqlite:///{directory / f'{kind}.db'}"
            elif cluster is not None:
                cluster.create(kind)
                url = cluster.url(kind)
            headers = {}
            if kind == "beacon":
                headers["Authorization"] = f"Bearer {_prepare_beacon(url)}"
                command, ready = [*BEACON, "serve"], "/readyz"
            else:
                command, ready = [*UVICORN, f"benchmarks.{kind}:create_app"], "/"
            port = stack.enter_context(_serving(name, command, _environment(url), ready, log))
            targets[name] = Target(port, headers)
        yield targets


def _environment(url: str) -> dict[str, str]:
    # Beacon is measured with its defaults, whatever this shell has set.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BEACON_")}
    return {**kept, "BEACON_DATABASE_URL": url, DATABASE_URL: url}


def _prepare_beacon(url: str) -> str:
    """Tables, the real tree and a key for the city; the key."""

    def beacon(*arguments: str) -> str:
        done = subprocess.run(
            [*BEACON, *arguments], cwd=ROOT, env=_environment(url), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"beacon {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    beacon("db", "upgrade")
    beacon("nodes", "import", str(TREE))
    scopes = ["--scope", "reports:write", "--scope", "alerts:read"]
    lines = beacon("keys", "create", "--node", CITY, *scopes, "--label", "bench").split()
    if not lines or not lines[-1].startswith("bk_"):
        raise Failed("beacon keys create printed no key")
    return lines[-1]


@contextmanager
def _serving(name: str, command: list[str], environment: dict[str, str], ready: str, log: Path) -> Iterator[int]:
    port = _free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(port, ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int, path: str) -> bool:
    try:
        return get(port, path, {})[0] == 200
    except (OSError, http.client.HTTPException):
        return False


def get(port: int, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """Status and ETag of one GET. Raises OSError and HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("ETag", "")
    finally:
        connection.close()
