import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.bed.postgres import Server, binaries, running

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as server:
        yield server


async def connect(server: Server, database: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(server.url(database).replace("+asyncpg", ""))


def count(server: Server, database: str) -> int:
    async def ask() -> int:
        connection = await connect(server, database)
        try:
            return int(await connection.fetchval("SELECT count(*) FROM kept"))
        finally:
            await connection.close()

    return asyncio.run(ask())


def test_a_database_made_from_a_template_has_its_rows_and_goes_its_own_way(server: Server) -> None:
    server.create("pattern")
    server.execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (1)", "pattern")

    server.create('copy "A"', template="pattern")
    server.execute("INSERT INTO kept VALUES (2)", 'copy "A"')

    server.create("copy_b", template="pattern")
    assert count(server, "copy_b") == 1
    assert count(server, "pattern") == 1
    server.drop('copy "A"')
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        server.execute("SELECT 1", 'copy "A"')


def test_what_was_committed_is_there_after_a_crash_and_on_the_same_port(server: Server) -> None:
    server.create("crash")
    server.execute("CREATE TABLE kept (id int)", "crash")
    for number in range(20):
        server.execute(f"INSERT INTO kept VALUES ({number})", "crash")
    address = server.url("crash")

    server.stop("immediate")
    with pytest.raises(ConnectionRefusedError):
        server.execute("SELECT 1")
    server.start()

    assert server.url("crash") == address
    assert count(server, "crash") == 20


def test_a_database_in_use_is_dropped_from_inside_a_running_event_loop(server: Server) -> None:
    async def scene() -> None:
        server.create("busy")
        connection = await connect(server, "busy")

        server.drop("busy")

        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.execute("SELECT 1")
        connection.terminate()

    asyncio.run(scene())
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        server.execute("SELECT 1", "busy")


def test_the_server_keeps_its_own_defaults_only_when_durable(server: Server) -> None:
    async def fsync(server: Server) -> str:
        connection = await connect(server, "postgres")
        try:
            return str(await connection.fetchval("SHOW fsync"))
        finally:
            await connection.close()

    with running(durable=True) as durable:
        assert asyncio.run(fsync(durable)) == "on"
    assert asyncio.run(fsync(server)) == "off"
    assert not durable.directory.exists()


def test_a_killed_run_leaves_neither_server_nor_directory() -> None:
    script = (
        "import sys; from tests.bed.postgres import running\n"
        "with running() as server:\n"
        "    print(server.directory, server.port, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        directory, port = run.stdout.readline().split()

        run.send_signal(signal.SIGKILL)
        run.stdout.read()  # ends when the last who holds the pipe has ended: the janitor

    assert not Path(directory).exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(port))) != 0


def test_an_interruption_ends_the_server_and_removes_its_directory() -> None:
    seen: list[Server] = []

    def interrupted() -> None:
        with running() as server:
            seen.append(server)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert not seen[0].directory.exists()
    with pytest.raises(ConnectionRefusedError):
        seen[0].execute("SELECT 1")


def test_root_runs_the_server_from_binaries_that_nobody_else_can_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root needs another account")
    source = binaries()
    if source.parent.name != "pginstall":
        pytest.skip("the system's binaries can be reached by everyone")
    package = source.parents[1]
    site = tmp_path / "closed"
    site.mkdir(mode=0o700)
    (site / package.name).symlink_to(package)
    (site / f"{package.name}.libs").symlink_to(package.with_name(f"{package.name}.libs"))
    monkeypatch.setenv("BEACON_TEST_POSTGRES_BIN", str(site / package.name / "pginstall" / "bin"))

    with running() as server:
        server.execute("SELECT 1")

        assert server.bin.is_relative_to(server.directory)
        assert server.process is not None
        assert Path(f"/proc/{server.process.pid}").stat().st_uid != 0


def test_a_directory_without_postgres_is_named_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_TEST_POSTGRES_BIN", str(tmp_path))

    with pytest.raises(RuntimeError, match="no initdb there"):
        binaries()
