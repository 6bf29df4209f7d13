"""Backup and restore of SQLite, by SQLite's online backup."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL

from app.core import migrate
from app.core.copying import After, BackupError, damaged, finish, in_use, not_empty


def write(url: URL, part: Path) -> None:
    """Copy the database of `url` into the empty file `part`, and check the copy."""
    source = _path(url)
    if not source.is_file():
        raise BackupError(f"There is no database {source}.")
    try:
        with closing(_open(source)) as origin:
            _copy(origin, part)
        _revision(part)
    except sqlite3.Error as error:
        raise BackupError(f"The copy of {source} is not sound: {error}.") from error


def read(url: URL, file: Path, *, after: After, force: bool) -> None:
    """Put a copy of `file` in the place of the database of `url`; until the last step that one is untouched."""
    try:
        revision = _revision(file)
    except sqlite3.Error as error:
        raise damaged(file) from error
    if revision not in migrate.known():
        raise BackupError(f"{file} was made by a newer Beacon (revision {revision}): install that one first.")
    target = _path(url)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with closing(_claim(target)) as claim:
            if not force and _holds_anything(claim):
                raise not_empty()
            part.touch(0o600, exist_ok=False)
            with closing(_open(file, "ro")) as origin:
                _copy(origin, part)
            finish(url.set(database=str(part)).render_as_string(hide_password=False), after)
            _leave_wal(part)
            _same_access(part, target)
            part.replace(target)
    except sqlite3.Error as error:
        raise BackupError(f"{file} cannot be restored: {error}. Nothing was changed.") from error
    finally:
        for leftover in target.parent.glob(f"{part.name}*"):
            leftover.unlink(missing_ok=True)


def _path(url: URL) -> Path:
    if not url.database or url.database == ":memory:":
        raise BackupError("A database in memory has no backup.")
    return Path(url.database)


def _open(path: Path, mode: str = "rw") -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=10)


def _copy(origin: sqlite3.Connection, part: Path) -> None:
    with closing(_open(part)) as copy:
        # All pages in one step: one moment, and writers go on meanwhile (WAL).
        origin.backup(copy, pages=-1)
    _leave_wal(part)


def _leave_wal(path: Path) -> None:
    # All in one file, on the disk.
    with closing(_open(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _same_access(part: Path, target: Path) -> None:
    # Restored by root, the database still belongs to the account that serves.
    old = target.stat()
    part.chmod(old.st_mode & 0o777)
    if os.geteuid() == 0:
        os.chown(part, old.st_uid, old.st_gid)


def _revision(path: Path) -> str:
    """The schema's revision in a sound file; sqlite3.Error when it is not sound."""
    with closing(_open(path, "ro")) as connection:
        found = connection.execute("PRAGMA integrity_check").fetchone()
        if found is None or found[0] != "ok":
            raise sqlite3.DatabaseError("integrity check failed")
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("no revision")
    return str(row[0])


def _claim(target: Path) -> sqlite3.Connection:
    """A connection that is the only one."""
    connection = _open(target, "rwc")
    try:
        connection.execute("PRAGMA busy_timeout=0")
        # Leaving WAL needs the file alone: SQLite refuses while anyone else has it open.
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        connection.close()
        raise in_use() from error
    except sqlite3.DatabaseError:
        connection.close()
        raise
    return connection


def _holds_anything(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return any(
        connection.execute(f'SELECT EXISTS (SELECT 1 FROM "{name}")').fetchone()[0]  # noqa: S608  a table's own name
        for (name,) in tables.fetchall()
        if name != "alembic_version"
    )
