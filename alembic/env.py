"""How Alembic reaches Beacon's database: on the connection that app.core.migrate hands over, or on its own."""

import asyncio
from collections.abc import Iterable
from typing import Any, Literal

import sqlalchemy as sa
from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import MigrationScript
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.core import migrate
from app.core.database import UtcDateTime
from app.core.settings import Settings
from app.tables import metadata


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Migrations name plain types: what Beacon's own become later must not change the past."""
    if kind != "type":
        return False
    if isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if isinstance(item, sa.JSON):
        autogen.imports.add("from sqlalchemy.dialects.postgresql import JSONB")
        return "sa.JSON().with_variant(JSONB(), 'postgresql')"
    return False


def number(_context: MigrationContext, _revision: Iterable[Any], scripts: list[MigrationScript]) -> None:
    """Revisions are numbered 0001, 0002, ...: files sort as they run."""
    known = sum(1 for _ in ScriptDirectory.from_config(context.config).walk_revisions())
    for script in scripts:
        script.rev_id = f"{known + 1:04d}"


def run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_item=render_item,
        process_revision_directives=number,
        # SQLite changes a table by making it anew; the first revision has none to change.
        render_as_batch=migrate.head() is not None,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    async with migrate.connected(Settings().database_url) as conn:
        await conn.run_sync(run)


if context.is_offline_mode():
    raise SystemExit("Beacon migrates a database it can reach: leave out --sql.")

given: sa.Connection | None = context.config.attributes.get("connection")
if given is None:
    asyncio.run(run_alone())
else:
    run(given)
