"""What is measured, and the rounds in which it is done."""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.servers import PATIENCE, ROOT, Failed, Target, get

DATABASES = ("sqlite", "postgresql")
ALERTS = "/v1/alerts"
PRIMING_SECONDS = 5.0


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    name: str
    server: str
    method: str
    path: str
    expect: int
    compared_to: str | None = None
    target: float | None = None  # the ratio that Beacon is held to


def _all() -> tuple[Scenario, ...]:
    # What is compared stands close together: the machine's mood changes within seconds.
    polls = [Scenario(f"304 poll {name}", f"beacon {name}", "GET", ALERTS, 304, "bare GET", 0.6) for name in DATABASES]
    writes = []
    for name in DATABASES:
        target = 0.6 if name == "postgresql" else None
        writes += [
            Scenario(f"floor {name}", f"floor {name}", "POST", "/reports", 201, "bare POST"),
            Scenario(f"intake {name}", f"beacon {name}", "POST", "/v1/reports", 201, f"floor {name}", target),
        ]
    return (
        Scenario("bare GET", "bare", "GET", "/", 200),
        *polls,
        Scenario("bare POST", "bare", "POST", "/reports", 201),
        *writes,
    )


SCENARIOS = _all()


@dataclass
class Measured:
    """A scenario's rounds."""

    scenario: Scenario
    rounds: list[dict[str, Any]] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    levels: Counter[str] = field(default_factory=Counter)

    def middle(self, figure: str) -> float:
        """The median over the rounds of `rps`, `p50_ms`, `p99_ms` or `client_cpu`."""
        return median(float(one[figure]) for one in self.rounds)

    def ratios_to(self, other: "Measured") -> list[float]:
        """Requests per second as a share of the other's, round by round; a round with nothing answered has none."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return [mine["rps"] / theirs["rps"] for mine, theirs in pairs if theirs["rps"]]


def chosen(words: Sequence[str]) -> list[Scenario]:
    """The scenarios whose names contain one of the words; all of them without words."""
    return [one for one in SCENARIOS if not words or any(word.lower() in one.name.lower() for word in words)]


def measure(
    scenarios: Sequence[Scenario],
    targets: dict[str, Target],
    *,
    rounds: int,
    seconds: float,
    warmup: float,
    concurrency: int,
    progress: Callable[[str], None],
) -> dict[str, Measured]:
    """All scenarios in turn, again and again, so that the machine's moods meet all alike; by name.

    One round more goes before, and only its errors are kept. Raises Failed when a measurement cannot be made.
    """
    found = {one.name: Measured(one) for one in scenarios}
    for number in range(rounds + 1):
        progress(f"round {number} of {rounds}" if number else "warming up")
        for one in scenarios:
            target = targets[one.server]
            headers = dict(target.headers)
            if one.expect == 304:
                headers["If-None-Match"] = _current_etag(one, target)
            job = {
                "port": target.port,
                "method": one.method,
                "path": one.path,
                "headers": headers,
                "expect": one.expect,
                "concurrency": concurrency,
                "warmup": warmup,
                "seconds": seconds if number else min(seconds, 1.0),
            }
            result = _generate(one, job)
            measured = found[one.name]
            measured.errors.update(result.pop("errors"))
            levels = result.pop("levels")
            if number:
                measured.levels.update(levels)
                measured.rounds.append(result)
    return found


def _generate(scenario: Scenario, job: dict[str, Any]) -> dict[str, Any]:
    limit = job["warmup"] + job["seconds"] + 2 * PATIENCE
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=ROOT,
            input=json.dumps(job),
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{scenario.name}: the load generator did not end within {limit:.0f} s") from None
    if done.returncode:
        raise Failed(f"{scenario.name}: the load generator failed:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _current_etag(scenario: Scenario, target: Target) -> str:
    """The list's ETag, once the server has agreed to it: it may still be noting the last commits."""
    deadline = time.monotonic() + PRIMING_SECONDS
    status, etag = get(target.port, scenario.path, target.headers)
    while status in (200, 304):
        if status == 304:
            return etag
        if time.monotonic() > deadline:
            break
        status, etag = get(target.port, scenario.path, {**target.headers, "If-None-Match": etag})
    raise Failed(f"{scenario.name}: {status} instead of 304 before the load began")
