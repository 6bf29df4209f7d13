"""A consistent copy of the database in one file, and the way back."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import postgres_dump, sqlite_copy
from app.core.copying import BackupError
from app.core.database import DatabaseAway

__all__ = ["BackupError", "backup", "restore"]


def backup(url: str, file: Path) -> None:
    """Write a copy of one moment to the new file `file`, also while Beacon serves; it is checked before it appears.

    PostgreSQL's is what `pg_dump` writes. Only the owner may read the file. Raises BackupError, with a sentence.
    """
    if file.exists():
        raise BackupError(f"{file} exists: choose a new name.")
    if not file.parent.is_dir():
        raise BackupError(f"There is no directory {file.parent}.")
    address = make_url(url)
    part = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        part.touch(0o600, exist_ok=False)
        if address.get_backend_name() == "sqlite":
            sqlite_copy.write(address, part)
        else:
            postgres_dump.write(address, part)
        _settle(part)
        # Unlike a rename, a link never takes the place of a file that came meanwhile.
        os.link(part, file)
        _settle(file.parent)
    except FileExistsError:
        raise BackupError(f"{file} exists: choose a new name.") from None
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        part.unlink(missing_ok=True)


def restore(url: str, file: Path, *, after: Callable[[AsyncConnection], Awaitable[None]], force: bool = False) -> None:
    """Put the backup `file` in the database's place, bring its schema up to date and run `after` on it.

    The file is checked first. Refused while anyone is connected, and, without `force`, when the database holds
    anything. Raises BackupError, with a sentence; what the database held is then unchanged.
    """
    if not file.is_file():
        raise BackupError(f"There is no file {file}.")
    address = make_url(url)
    try:
        if address.get_backend_name() == "sqlite":
            sqlite_copy.read(address, file, after=after, force=force)
        else:
            postgres_dump.read(address, file, after=after, force=force)
    except DatabaseAway as error:
        raise BackupError("The database cannot be reached: check BEACON_DATABASE_URL.") from error
    except OSError as error:
        raise BackupError(f"{file} cannot be restored: {error.strerror}.") from error


def _settle(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
