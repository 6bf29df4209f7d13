"""kill -9 at any moment: what `put` returned for is there, and goes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.core.clock import ManualClock
from app.field.outbox import Outbox
from app.field.store import open_store
from tests.builders import NOON
from tests.field.devices import device
from tests.field.server import Server
from tests.processes import PATIENCE, ROOT

# Prints an id only once `put` has returned it; corrects and attaches between, as a person would.
WRITER = """
import sys
import pytest

from app.core.clock import SystemClock
from app.field.outbox import Outbox
from app.field.store import open_store

outbox = Outbox(open_store(sys.argv[1]), clock=SystemClock())
while True:
    report = {"hazard": "flood.river", "urgency": "Immediate", "severity": "Severe", "certainty": "Observed"}
    one = outbox.put({**report, "description": "x" * 500}, urgent=True, tiny_first=True)
    print("put", one, flush=True)
    outbox.attach(one, "1.jpg", bytes(20_000), media_type="image/jpeg")
    print("attached", one, flush=True)
"""


def write_and_die(store: Path, *, lines: int, delay: float) -> list[list[str]]:
    """Put in a process of its own, killed `delay` seconds after it said so many lines; all that it said."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(store)], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert writer.stdout is not None
    said = [writer.stdout.readline() for _ in range(lines)]
    time.sleep(delay)
    os.killpg(writer.pid, signal.SIGKILL)
    said += writer.stdout.readlines()
    writer.stdout.close()
    assert writer.wait(PATIENCE) == -signal.SIGKILL
    return [line.split() for line in said if line.endswith("\n")]


@pytest.mark.anyio
async def test_what_was_put_before_a_kill_is_there_and_arrives_once(tmp_path: Path) -> None:
    rng = random.Random(1)
    store = tmp_path / "phone.db"
    said = []

    for _ in range(4):
        # Killed anywhere in a round of put and attach, some milliseconds long.
        said += write_and_die(store, lines=rng.randint(1, 6), delay=rng.random() * 0.01)

    server = Server(random.Random(2))
    phone = device(server, clock=ManualClock(NOON), session="t", path=str(store))
    await phone.deliver()
    put = {one for word, one in said if word == "put"}
    attached = {one for word, one in said if word == "attached"}
    assert len(put) >= 4
    assert put <= set(server.stored)
    assert {len(server.stored[one]) for one in put} == {2}
    assert attached <= {report_id for report_id, _ in server.files}
    assert set(server.made.values()) == {1}


def test_a_put_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "phone.db")
    outbox = Outbox(store, clock=ManualClock(NOON))
    one = outbox.put({"hazard": "flood.river"})

    with pytest.raises(ValueError, match=one):
        outbox.put({"id": one, "hazard": "fire.building"})

    assert (outbox.reports(), outbox.waiting()) == ([one], 1)
    assert not store.in_transaction


def test_every_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    store = open_store(tmp_path / "phone.db")

    found = [store.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert found == ["wal", 2]
