"""What machine and what software the numbers belong to."""

import os
import platform
import sqlite3
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.bed import postgres

PACKAGES = ("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools", "sqlalchemy", "aiosqlite", "asyncpg")


def gather(directory: Path, *, with_postgres: bool) -> dict[str, str]:
    """The facts by name; `directory` is where the databases are."""
    found = {
        "cores": str(_cores()),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "sqlite": sqlite3.sqlite_version,
    }
    if with_postgres:
        done = subprocess.run(
            [postgres.binaries() / "postgres", "--version"], capture_output=True, text=True, check=True
        )
        found["postgresql"] = done.stdout.split()[-1]
    found["fsync_ms"] = f"{_fsync_ms(directory):.2f}"
    return found


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _fsync_ms(directory: Path, *, times: int = 50) -> float:
    """The median time to append 4 KiB durably: what a commit costs at the least."""
    taken = []
    path = directory / "fsync"
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    path.unlink()
    return median(taken) * 1000
