from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy import JSON, ColumnElement, DateTime, Dialect, MetaData, any_, bindparam, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator


class Base(DeclarativeBase):
    """All tables. Constraint names are fixed so that migrations can name them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in, aware UTC datetimes out, on databases that keep the zone and on those that do not."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store UTC; a naive value is a bug in the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs its zone")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class DatabaseAway(Exception):
    """The database cannot be reached or cannot take writes now. Nothing was stored."""


class Contention(Exception):
    """Another writer was first; the same transaction, run again, is expected to pass."""


# Connection failures, shutdown, resources: PostgreSQL's classes 08, 53, 57P, 58.
_AWAY_STATES = ("08", "53", "57P", "58")
_RETRY_STATES = ("40001", "40P01")


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's SQLSTATE, or an empty string."""
    return str(getattr(getattr(error, "orig", error), "sqlstate", None) or "")


def is_away(error: BaseException) -> bool:
    """Whether this failure says that the database is away, not that the statement is wrong."""
    if isinstance(error, PoolTimeout | OSError):
        return True
    state = sqlstate(error)
    if isinstance(error, DBAPIError):
        return (
            error.connection_invalidated
            or state.startswith(_AWAY_STATES)
            or (not state and isinstance(error, OperationalError))
        )
    return state.startswith(_AWAY_STATES)


def announce(conn: AsyncConnection, message: object) -> None:
    """Hand `message` to the database's listeners once this transaction has committed."""
    conn.info.setdefault("announcements", []).append(message)


async def upsert_versions(
    conn: AsyncConnection, table: Any, rows: Sequence[Mapping[str, Any]], changing: tuple[str, ...]
) -> None:
    """One statement for new rows and for the next version of known ones: compare-and-set on `version`.

    Of known rows only the columns `changing` are written. Raises Contention when another writer made that
    version first.
    """
    statement = _upsert(conn.dialect.name, table, changing)
    # Every writer takes the row locks in one order, so that two of them cannot wait for each other.
    ordered = sorted(rows, key=lambda row: row["id"])
    written = (await conn.execute(statement, ordered)).scalars().all()
    if len(written) != len(ordered):
        raise Contention


@cache
def _upsert(dialect: str, table: Any, changing: tuple[str, ...]) -> Any:
    insert = insert_into(dialect, table)
    return insert.on_conflict_do_update(
        index_elements=["city_id", "id"],
        set_={name: insert.excluded[name] for name in changing},
        where=table.version == insert.excluded.version - 1,
    ).returning(table.id)


def insert_into(dialect: str, table: Any) -> Any:
    """The INSERT of a database (`conn.dialect.name`), which knows ON CONFLICT."""
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)


def among(dialect: str, column: Any, name: str) -> ColumnElement[bool]:
    """Whether `column` is in the list that is bound as `name`.

    On PostgreSQL the list is one array, so that the statement's text, and with it its prepared plan, is the
    same for any length.
    """
    if dialect == "sqlite":
        inside: ColumnElement[bool] = column.in_(bindparam(name, expanding=True))
        return inside
    equal: ColumnElement[bool] = column == any_(bindparam(name, type_=postgresql.ARRAY(column.type)))
    return equal


class Database:
    """The engines of one process: one for writing, one for reading."""

    def __init__(self, url: str, *, pool: int = 10) -> None:
        self.url: URL = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.listeners: list[Callable[[object], None]] = []
        # Each runs last in a transaction that announced something, and may still write.
        self.before_commit: list[Callable[[AsyncConnection, Sequence[object]], Awaitable[None]]] = []
        if self.is_sqlite:
            if self.url.database and self.url.database != ":memory:":
                Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
            self._writer = _sqlite_engine(self.url, "BEGIN IMMEDIATE", size=1)
            self._snapshot = self._reader = _sqlite_engine(self.url, "BEGIN", size=4)
        else:
            self._writer = create_async_engine(
                self.url,
                pool_size=pool,
                max_overflow=0,
                pool_timeout=10,
                pool_use_lifo=True,
                connect_args={
                    "timeout": 5,
                    "prepared_statement_cache_size": 1024,
                    # A plan that was made while a table was empty must not outlive its growth.
                    "server_settings": {
                        "application_name": "beacon",
                        "jit": "off",
                        "plan_cache_mode": "force_custom_plan",
                    },
                },
            )
            self._reader = self._writer.execution_options(isolation_level="AUTOCOMMIT")
            self._snapshot = self._writer.execution_options(isolation_level="REPEATABLE READ")

    @property
    def engines(self) -> tuple[AsyncEngine, ...]:
        """The engines that have pools of their own."""
        return (self._writer, self._reader) if self.is_sqlite else (self._writer,)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that commits at the end, then tells the listeners what was announced in it."""
        try:
            async with self._writer.connect() as conn:
                conn.info.pop("announcements", None)
                async with conn.begin():
                    yield conn
                    if announced := tuple(conn.info.get("announcements", ())):
                        for settle in self.before_commit:
                            await settle(conn, announced)
                announcements = conn.info.pop("announcements", ())
        except Exception as error:
            if is_away(error):
                raise DatabaseAway from error
            if sqlstate(error) in _RETRY_STATES:
                raise Contention from error
            raise
        for message in announcements:
            for listener in self.listeners:
                listener(message)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for single reads, each of its own moment."""
        async with self._on(self._reader) as conn:
            yield conn

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose reads are all of one moment."""
        async with self._on(self._snapshot) as conn:
            yield conn

    @asynccontextmanager
    async def _on(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        try:
            async with engine.connect() as conn:
                yield conn
        except Exception as error:
            if is_away(error):
                raise DatabaseAway from error
            raise

    async def close(self) -> None:
        """Give the connections back."""
        await self._writer.dispose()
        if self.is_sqlite:
            await self._reader.dispose()


def _sqlite_engine(url: URL, begin: str, *, size: int) -> AsyncEngine:
    engine = create_async_engine(
        url, pool_size=size, max_overflow=0, pool_timeout=30, connect_args={"isolation_level": None}
    )

    # The driver's own transactions start too late and lose updates: Beacon begins them itself.
    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=10000",
            "foreign_keys=ON",
            "cache_size=-32000",
            "temp_store=MEMORY",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Any) -> None:
        connection.exec_driver_sql(begin)

    return engine


def database_of(request: Request) -> Database:
    """The application's database."""
    database: Database = request.app.state.database
    return database


async def _reading(request: Request) -> AsyncIterator[AsyncConnection]:
    async with database_of(request).reading() as conn:
        yield conn


async def _snapshot(request: Request) -> AsyncIterator[AsyncConnection]:
    async with database_of(request).snapshot() as conn:
        yield conn


async def _writing(request: Request) -> AsyncIterator[AsyncConnection]:
    async with database_of(request).writing() as conn:
        yield conn


# scope="function": the transaction has ended before the answer goes out, so that 2xx means durable.
Reading = Annotated[AsyncConnection, Depends(_reading, scope="function")]
Snapshot = Annotated[AsyncConnection, Depends(_snapshot, scope="function")]
Writing = Annotated[AsyncConnection, Depends(_writing, scope="function")]
