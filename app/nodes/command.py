import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from app.core.clock import day_of
from app.core.database import Database
from app.nodes import csvfile, importing, service
from app.nodes.csvfile import RowError
from app.nodes.service import TreeListener

MOST_ERRORS = 100


async def import_file(
    database: Database,
    path: Path,
    *,
    dry_run: bool,
    now: datetime,
    console: Console,
    on: date | None = None,
    listeners: Iterable[TreeListener] = (),
) -> int:
    """`beacon nodes import`: the exit code. Errors go to `console`, a line each.

    What the server's tree listeners do, `listeners` do here. Raises ValueError or Problem, with a sentence, for a
    file that cannot be read.
    """
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    parsed = await asyncio.to_thread(csvfile.parse, content)
    today = day_of(now)
    async with database.snapshot() if dry_run else database.writing() as conn:
        made = await importing.plan(conn, parsed, on=on or today, today=today, lock=not dry_run)
        if made.errors:
            _print_errors(console, made.errors)
            return 1
        if not dry_run:
            with Progress(
                TextColumn("importing"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
            ) as bar:
                task = bar.add_task("", total=len(made.new) + len(made.changed))
                told = await importing.carry_out(
                    conn, made, now=now, progress=lambda done: bar.update(task, completed=done)
                )
            await service.tell(conn, listeners, told, now=now)
    counts = Counter(result.status for result in made.results)
    said = ", ".join(f"{counts[status]} {status}" for status in ("created", "updated", "unchanged"))
    _print(console, f"{said}{' (dry run: nothing was stored)' if dry_run else ''}.")
    return 0


def _print_errors(console: Console, errors: list[RowError]) -> None:
    for wrong in errors[:MOST_ERRORS]:
        _print(console, f"line {wrong.line}: {wrong.node}: {wrong.message} {wrong.message_zh}")
    if len(errors) > MOST_ERRORS:
        _print(console, f"... and {len(errors) - MOST_ERRORS} more.")
    _print(console, f"{len(errors)} error(s); nothing was stored.")


def _print(console: Console, line: str) -> None:
    # One line each, also when it is wider than the terminal.
    console.print(line, markup=False, highlight=False, soft_wrap=True)
