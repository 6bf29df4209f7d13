"""Backup and restore of PostgreSQL, by its own programs."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import migrate
from app.core.copying import After, BackupError, damaged, finish, in_use, not_empty


def write(url: URL, part: Path) -> None:
    """Dump the database of `url` into the file `part`, and read the dump through."""
    _run(url, "pg_dump", "--format=custom", "--no-owner", "--no-privileges", f"--file={part}")
    try:
        _run(url, "pg_restore", "--file=/dev/null", str(part))
    except BackupError as error:
        raise BackupError(f"The dump is not sound: {error}") from error


def read(url: URL, file: Path, *, after: After, force: bool) -> None:
    """Put what `file` holds in the place of the tables of `url`, in one transaction."""
    address = url.render_as_string(hide_password=False)
    with tempfile.TemporaryDirectory(prefix="beacon-restore-") as directory:
        before, dump, last = (Path(directory, name) for name in ("before.sql", "dump.sql", "last.sql"))
        try:
            # Read to its end before anything is touched.
            _run(url, "pg_restore", "--no-owner", "--no-privileges", f"--file={dump}", str(file))
        except _Failed as error:
            raise damaged(file) from error
        schema, tables = migrate.run_on(address, lambda conn: _look(conn, force=force))
        names = ", ".join(f"{schema}.{table}" for table in tables)
        before.write_text(f"DROP TABLE {names} CASCADE;\n" if tables else "", encoding="utf-8")
        last.write_text(_refuse_newer(schema), encoding="utf-8")
        options = ("--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", "--output=/dev/null")
        _run(url, "psql", *options, f"--file={before}", f"--file={dump}", f"--file={last}")
    finish(address, after)


async def _look(conn: AsyncConnection, *, force: bool) -> tuple[str, list[str]]:
    """The quoted names of the schema and its tables; refuses when in use or, without `force`, not empty."""
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    if (await conn.execute(others)).scalar_one():
        raise in_use()
    schema = (await conn.execute(text("SELECT quote_ident(current_schema())"))).scalar_one()
    named = text("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
    tables = list((await conn.execute(named)).scalars())
    for table in tables:
        if force or table == "alembic_version":
            continue
        any_row = text(f"SELECT EXISTS (SELECT FROM {schema}.{table})")  # noqa: S608  quoted by the database
        if (await conn.execute(any_row)).scalar_one():
            raise not_empty()
    return schema, tables


def _refuse_newer(schema: str) -> str:
    """SQL that fails, and so undoes all, unless the schema's revision is one this Beacon knows."""
    revisions = ", ".join(f"'{revision}'" for revision in sorted(migrate.known()))
    return (
        "DO $$ BEGIN"
        f" IF NOT EXISTS (SELECT FROM {schema}.alembic_version WHERE version_num IN ({revisions}))"
        " THEN RAISE EXCEPTION 'made by a newer Beacon: install that one first'; END IF; END $$;\n"
    )


class _Failed(BackupError):
    """A program ran and said no."""


def _run(url: URL, program: str, *arguments: str) -> None:
    path = shutil.which(program)
    if path is None:
        raise BackupError(
            f"{program} is not installed: install PostgreSQL's client programs, of the server's version or newer"
            " (Debian: postgresql-client)."
        )
    given = {
        "PGHOST": url.host,
        "PGPORT": str(url.port) if url.port else None,
        "PGUSER": url.username,
        # In the environment: a command line is open to every user of the machine.
        "PGPASSWORD": str(url.password) if url.password else None,
        "PGDATABASE": url.database,
        "PGSSLMODE": _first(url.query.get("ssl") or url.query.get("sslmode")),
        "PGCONNECT_TIMEOUT": "10",
    }
    # pg_restore writes to a file when it is given no database by name; the environment's it ignores.
    environment = os.environ | {name: value for name, value in given.items() if value}
    done = subprocess.run(  # noqa: S603  a program of PATH with arguments of ours
        [path, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        line = next((line for line in said if "error" in line.lower()), said[0] if said else "no reason given")
        raise _Failed(f"{program} failed: {line}")


def _first(value: str | tuple[str, ...] | None) -> str | None:
    return value[0] if isinstance(value, tuple) else value
