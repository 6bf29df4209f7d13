"""Many runs, each of its own seed: `python -m tests.simulation --runs 1000 --seed 1 --database sqlite`.

With `--seconds` as many runs as begin within that time.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog

from app.core.clock import ManualClock
from app.core.ids import new_id
from app.core.migrate import upgrade
from app.core.settings import Settings
from app.main import create_app
from tests.bed import postgres
from tests.simulation import checking, night

START = datetime(2018, 8, 19, tzinfo=UTC)
# A database that has seen so many nights is put away: the next runs get a fresh one.
RUNS_A_DATABASE = 100


def main() -> int:
    """Return the exit code: 1 when a run differed from the ledger; its seed is printed and plays it again."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--runs", type=int, help="how many (100), or with --seconds at most")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after this time none begins")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each next one has one more")
    parser.add_argument("--rounds", type=int, default=night.ROUNDS)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    counted: Counter[str] = Counter()
    begun = time.monotonic()
    until = begun + asked.seconds
    most = asked.runs or (100 if asked.seconds == float("inf") else None)
    seeds = itertools.islice(itertools.count(asked.seed), most)
    failed: list[int] = []
    played = 0
    while time.monotonic() < until and (some := list(itertools.islice(seeds, RUNS_A_DATABASE))):
        with _database(asked.database) as url, tempfile.TemporaryDirectory() as kept:
            played += asyncio.run(_play(url, Path(kept), some, asked.rounds, until, counted, failed))
    print(f"{played} runs on {asked.database} in {time.monotonic() - begun:.0f} s, {len(failed)} failed")
    print(", ".join(f"{count} {word}" for word, count in counted.most_common()))
    for seed in failed:
        rounds = "" if asked.rounds == night.ROUNDS else f" --rounds {asked.rounds}"
        print(f"again: python -m tests.simulation --database {asked.database} --runs 1 --seed {seed}{rounds}")
    return 1 if failed else 0


async def _play(
    url: str, kept: Path, seeds: list[int], rounds: int, until: float, counted: Counter[str], failed: list[int]
) -> int:
    """Play the runs that begin before `until`; return how many did. Add the seeds of those that failed to `failed`."""
    await asyncio.to_thread(upgrade, url)
    clock = ManualClock(START)
    settings = Settings(
        database_url=url, attachments_url=kept.as_uri(), timers_poll_seconds=0, log_level="critical", database_pool=5
    )
    app = create_app(settings, clock=clock)
    played = 0
    async with app.router.lifespan_context(app):
        for seed in seeds:
            if time.monotonic() >= until:
                break
            played += 1
            try:
                one = await night.begin(app, clock, seed=seed)
                await night.live(one, rounds=rounds)
                counted.update(await checking.check(one))
            except AssertionError as error:
                failed.append(seed)
                print(f"seed {seed}: {error}", file=sys.stderr, flush=True)
    return played


@contextmanager
def _database(kind: str) -> Iterator[str]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as directory:
            yield f"sqlite+aiosqlite:///{directory}/simulation.db"
        return
    with postgres.running() as server:
        name = f"s{new_id().hex}"
        server.create(name)
        yield server.url(name)


if __name__ == "__main__":
    raise SystemExit(main())
