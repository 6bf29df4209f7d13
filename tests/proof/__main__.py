"""The long checks, within a time: `make proof` (60 minutes), `make proof MINUTES=20 SEED=7`.

Two lanes, one for each database, each a row of parts that share the lane's time. Every part is seeded and prints what
repeats it. The seed changes with the day, so that each day tries something else.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LANES = ("sqlite", "postgresql")
# What a part may need beyond its time, to start and to end.
GRACE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Part:
    """One long check: its share of the lane's time, and the command that runs for so many seconds."""

    name: str
    share: float
    module: str


PARTS = (
    Part("fuzz", 0.5, "tests.proof.fuzz"),
    Part("simulation", 0.5, "tests.simulation"),
)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a part ended."""

    name: str
    is_good: bool


def main() -> int:
    """Return the exit code: 1 when a part failed; its output ends with what repeats it."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="for everything")
    parser.add_argument("--seed", type=int, default=int(datetime.now(UTC).strftime("%Y%m%d")))
    asked = parser.parse_args()
    print(f"seed {asked.seed}, {asked.minutes:g} minutes", flush=True)
    ended: list[Ended] = []
    lanes = [threading.Thread(target=_lane, args=(lane, asked.minutes * 60, asked.seed, ended)) for lane in LANES]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    failed = [one.name for one in ended if not one.is_good]
    for name in failed:
        print(f"failed: {name}")
    print(f"{len(ended) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _lane(database: str, seconds: float, seed: int, ended: list[Ended]) -> None:
    begun = time.monotonic()
    for at, part in enumerate(PARTS):
        # What an earlier part left unused is the later ones'.
        left = max(0.0, seconds - (time.monotonic() - begun))
        mine = max(30, int(left * part.share / sum(one.share for one in PARTS[at:])))
        ended.append(_run(part, database, mine, seed))


def _run(part: Part, database: str, seconds: int, seed: int) -> Ended:
    command = [sys.executable, "-m", part.module, "--database", database]
    command += ["--seed", str(seed), "--seconds", str(seconds)]
    name = f"{part.name} on {database}"
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            is_good = process.wait(seconds + GRACE_SECONDS) == 0
        except subprocess.TimeoutExpired:
            # With the servers that it started.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            is_good = False
            told.write(f"\nnot ended after {seconds + GRACE_SECONDS} s\n")
        told.seek(0)
        output = told.read()
    # One write: the other lane prints too.
    print(f"--- {name}: {'passed' if is_good else 'FAILED'} ({' '.join(command[1:])})\n{output.rstrip()}\n", flush=True)
    return Ended(name, is_good)


if __name__ == "__main__":
    raise SystemExit(main())
