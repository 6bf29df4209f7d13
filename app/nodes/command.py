import asyncio
from datetime import date, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from app.core.clock import day_of
from app.core.database import Database
from app.nodes import csvfile, importing

MOST_ERRORS = 100


async def import_file(
    database: Database, path: Path, *, dry_run: bool, now: datetime, console: Console, on: date | None = None
) -> int:
    """`beacon nodes import`: the exit code. Errors go to `console`, a line each; a Problem for an unreadable file."""
    try:
        content = await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    parsed = csvfile.parse(content)
    today = day_of(now)
    async with database.writing() as conn:
        made = await importing.plan(conn, parsed, today=today)
        if made.errors:
            for wrong in made.errors[:MOST_ERRORS]:
                console.print(
                    f"line {wrong.line}: {wrong.node}: {wrong.message} {wrong.message_zh}",
                    markup=False,
                    highlight=False,
                )
            if len(made.errors) > MOST_ERRORS:
                console.print(f"... and {len(made.errors) - MOST_ERRORS} more.")
            console.print(f"{len(made.errors)} error(s); nothing was stored.")
            return 1
        if not dry_run:
            with Progress(
                TextColumn("importing"), BarColumn(), MofNCompleteColumn(), console=console, transient=True
            ) as bar:
                task = bar.add_task("", total=len(made.new) + len(made.changed))
                await importing.carry_out(
                    conn,
                    made,
                    on=on or today,
                    today=today,
                    now=now,
                    progress=lambda done: bar.update(task, completed=done),
                )
    counts = dict.fromkeys(("created", "updated", "unchanged"), 0)
    for result in made.results:
        counts[result.status] += 1
    said = ", ".join(f"{count} {status}" for status, count in counts.items())
    console.print(f"{said}{' (dry run: nothing was stored)' if dry_run else ''}.")
    return 0
