from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncConnection

from app.core import migrate

After = Callable[[AsyncConnection], Awaitable[None]]


class BackupError(ValueError):
    """A backup or restore was refused or failed; the message is a sentence for the operator."""


def damaged(file: object) -> BackupError:
    """The file cannot be trusted."""
    return BackupError(f"{file} is damaged or is no backup of Beacon. Nothing was changed.")


def not_empty() -> BackupError:
    """Restoring would lose what is there."""
    return BackupError("The database is not empty: use --force to replace what it holds.")


def in_use() -> BackupError:
    """Someone would go on with what he read before."""
    return BackupError("The database is in use: stop the servers first.")


def finish(url: str, after: After) -> None:
    """Bring a restored database up to date and run `after` on it."""
    migrate.upgrade(url)
    migrate.run_on(url, after)
