"""Real server processes on loopback, for what one process cannot show."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parent.parent
PATIENCE = 30.0


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Served:
    """A running `beacon serve`."""

    url: str
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """kill -9: no goodbye, no flush."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def terminate(self, *, timeout: float = 20) -> int:
        """Ask to stop; the exit code."""
        self.process.terminate()
        return self.process.wait(timeout)


@contextmanager
def serving(database_url: str, *, port: int | None = None, **settings: str) -> Iterator[Served]:
    """`beacon serve` on the database, ready; gone at the end."""
    port = port or free_port()
    environment = os.environ | {
        "BEACON_DATABASE_URL": database_url,
        "BEACON_LOG_LEVEL": "error",
        "BEACON_FEED_POLL_SECONDS": "0.5",
        "BEACON_DATABASE_POOL": "5",
        **settings,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve", "--port", str(port)],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    served = Served(f"http://127.0.0.1:{port}", process)
    try:
        _await_ready(served)
        yield served
    finally:
        if process.poll() is None:
            served.kill()


def _await_ready(served: Served) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if served.process.poll() is not None:
            raise RuntimeError(f"the server ended with {served.process.returncode}")
        try:
            if httpx.get(f"{served.url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("the server did not become ready")
