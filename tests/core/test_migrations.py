import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import CheckConstraint, Connection, inspect, text

from app.alerts import acting, engine
from app.core import migrate
from app.core.caller import Caller
from app.core.clock import ManualClock
from app.core.database import Database, DatabaseAway
from app.core.ids import new_id
from app.tables import metadata
from tests.bed import postgres

Found = TypeVar("Found")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
        return
    server: postgres.Server = request.getfixturevalue("postgres_server")
    name = f"m{new_id().hex}"
    server.create(name)
    yield server.url(name)
    server.drop(name)


def look(url: str, work: Callable[[Connection], Found]) -> Found:
    async def run() -> Found:
        database = Database(url, pool=1)
        try:
            async with database.writing() as conn:
                return await conn.run_sync(work)
        finally:
            await database.close()

    return asyncio.run(run())


def names_of_checks(connection: Connection) -> set[str]:
    inspector = inspect(connection)
    return {
        str(check["name"]) for table in inspector.get_table_names() for check in inspector.get_check_constraints(table)
    }


def test_an_empty_database_becomes_what_the_models_say(url: str) -> None:
    migrate.upgrade(url)

    assert migrate.check(url) == []
    assert migrate.current(url) == migrate.head()


def test_check_constraints_are_migrated_too(url: str) -> None:
    migrate.upgrade(url)

    expected = {
        f"{constraint.name}"
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert "ck_reports_urgent_has_alert" in expected
    assert look(url, names_of_checks) == expected


def test_down_drops_all_and_up_again_restores_all(url: str) -> None:
    migrate.upgrade(url)

    migrate.downgrade(url, "base")
    left = look(url, lambda connection: set(inspect(connection).get_table_names()))
    migrate.upgrade(url)

    assert left == {"alembic_version"}
    assert migrate.check(url) == []


def test_upgrading_twice_changes_nothing(url: str) -> None:
    migrate.upgrade(url)
    migrate.upgrade(url)

    assert migrate.check(url) == []


def test_a_pending_revision_is_named(url: str) -> None:
    migrate.upgrade(url)
    migrate.downgrade(url, "base")

    assert migrate.check(url)[0] == "Revision 0001 (first) is not applied: run beacon db upgrade."
    assert len(migrate.check(url)) == int(migrate.head() or 0)
    assert migrate.current(url) is None


def test_a_missing_index_is_told_as_drift(url: str) -> None:
    migrate.upgrade(url)
    look(url, lambda connection: connection.execute(text("DROP INDEX ix_nodes_parent_code")))

    assert migrate.check(url) == ["The schema differs from what was migrated: add index ix_nodes_parent_code."]


def test_a_schema_newer_than_this_beacon_is_refused_and_left_alone(url: str) -> None:
    migrate.upgrade(url)
    look(url, lambda connection: connection.execute(text("UPDATE alembic_version SET version_num = '9999'")))

    with pytest.raises(migrate.SchemaError, match="9999"):
        migrate.upgrade(url)
    assert "9999" in migrate.check(url)[0]
    assert migrate.current(url) == "9999"


@pytest.mark.anyio
async def test_it_runs_inside_an_event_loop(url: str) -> None:
    await migrate.upgrade_async(url)
    migrate.upgrade(url)

    assert migrate.check(url) == []


@pytest.mark.anyio
async def test_several_upgrades_at_once_wait_for_each_other(url: str) -> None:
    await asyncio.gather(*(migrate.upgrade_async(url) for _ in range(3)))

    assert migrate.check(url) == []


def test_a_database_that_cannot_be_reached_is_said_to_be_away() -> None:
    with pytest.raises(DatabaseAway):
        migrate.upgrade("postgresql+asyncpg://nobody@127.0.0.1:9/none")


def test_looking_at_a_sqlite_database_that_is_not_there_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "none.db"

    found = migrate.check(f"sqlite+aiosqlite:///{path}")

    assert found == ["There is no database yet: run beacon db upgrade."]
    assert not path.exists()


OLD_ROWS = (
    "INSERT INTO cities (city_id, created_at) VALUES ('c', '2018-08-20 04:00:00')",
    "INSERT INTO nodes (code, city_id, tier, name, opened_on, version) VALUES ('c', 'c', 'city', 'C', '2000-01-01', 1)",
    "INSERT INTO incidents (city_id, id, version, state, hazard, level, node_code, headline, here, nodes, reports,"
    " opened_at, last_observed_at) VALUES ('c', '{id}', 1, 'open', 'flood.river', 'red', 'c', 'x', 'flood.river@c',"
    " '[\"c\"]', 1, '2018-08-20 04:00:00', '2018-08-20 04:00:00')",
    "INSERT INTO alerts (city_id, id, version, level, state, incident_id, node_code, node_name, path, nodes, hazard,"
    " headline, reasons, reports, raised_at, due_at, escalation_step) VALUES ('c', '{id}', 1, 'red', 'raised', '{id}',"
    " 'c', 'C', '[\"c\"]', '[\"c\"]', 'flood.river', 'x', '[]', 1, '2018-08-20 04:00:00', '2018-08-20 04:05:00', 0)",
)


@pytest.mark.anyio
async def test_what_was_stored_before_alerts_had_a_policy_lives_on(url: str) -> None:
    await asyncio.to_thread(migrate.upgrade, url, "0001")
    alert_id = new_id()
    stored = alert_id.hex if url.startswith("sqlite") else str(alert_id)
    for statement in OLD_ROWS:
        await asyncio.to_thread(look, url, partial(run_text, statement.replace("{id}", stored)))

    await asyncio.to_thread(migrate.upgrade, url)
    database = Database(url, pool=2)
    clock = ManualClock(datetime(2018, 8, 20, 5, tzinfo=UTC))
    caller = Caller("c", "c", "city", frozenset({"alerts:read", "alerts:act"}), "desk", account_id=new_id())
    await engine.run_due(database, clock=clock)
    async with database.writing() as conn:
        taken = await acting.acknowledge(
            conn, caller=caller, alert_id=alert_id, until=None, longest=timedelta(hours=1), now=clock.now()
        )
        released = await acting.release(conn, caller=caller, alert_id=alert_id, note="", now=clock.now())
    await database.close()

    # It had waited for ever: since then it is announced once an hour.
    assert (taken.state, taken.version, taken.origin, taken.drill_id) == ("acknowledged", 3, "reports", None)
    assert (released.state, released.version, released.escalation.step) == ("raised", 4, 0)
    assert released.escalation.next_at == clock.now() + timedelta(hours=1)


OLD_REPORT = (
    "INSERT INTO reports (city_id, id, version, digest, kind, node_code, hazard, family, urgency, severity, certainty,"
    " level, reasons, observed_at, submitted_at, received_at, summary, description, figures, masked, incident_id,"
    " filed_by) VALUES ('c', '{id}', 1, '', 'initial', 'c', 'flood.river', 'natural', '', '', '', 'routine', '[]',"
    " '2018-08-19 04:00:00', '2018-08-20 04:00:00', '2018-08-20 04:00:00', '', '', '{}', 0, '{id}', 'c')"
)


def test_since_when_an_incident_was_observed_is_known_of_old_ones_too(url: str) -> None:
    migrate.upgrade(url, "0007")
    ids = [new_id(), new_id()]
    told, silent = (one.hex if url.startswith("sqlite") else str(one) for one in ids)
    for statement in (*OLD_ROWS[:3], OLD_REPORT):
        look(url, partial(run_text, statement.replace("{id}", told)))
    look(url, partial(run_text, OLD_ROWS[2].replace("{id}", silent)))

    migrate.upgrade(url)

    query = "SELECT first_observed_at FROM incidents ORDER BY first_observed_at"
    found = look(url, lambda connection: list(connection.execute(text(query)).scalars()))
    assert [str(one)[:19] for one in found] == ["2018-08-19 04:00:00", "2018-08-20 04:00:00"]


def run_text(statement: str, connection: Connection) -> None:
    connection.execute(text(statement.replace(":", "\\:")))


BEFORE_CODES = (
    "INSERT INTO cities (city_id, created_at) VALUES ('c', '2018-08-20 04:00:00')",
    "INSERT INTO nodes (code, city_id, tier, name, opened_on, version) VALUES ('c', 'c', 'city', 'C', '2000-01-01', 1)",
    "INSERT INTO accounts (id, username, password_hash, role, node_code, city_id, created_at) VALUES"
    " ('00000000000070008000000000000001', 'desk', 'argon2', 'desk', 'c', 'c', '2018-08-20 04:00:00')",
    "INSERT INTO tokens (token_hash, kind, account_id, sign_in_id, expires_at) VALUES ('t', 'access',"
    " '00000000000070008000000000000001', '00000000000070008000000000000002', '2100-01-01 00:00:00')",
    "INSERT INTO api_keys (id, key_hash, prefix, label, node_code, city_id, scopes, created_at) VALUES"
    " ('00000000000070008000000000000003', 'k', 'bk_1', 'gateway', 'c', 'c', '[\"alerts:read\"]',"
    " '2018-08-20 04:00:00')",
)


def test_accounts_tokens_and_keys_from_before_codes_go_on(url: str) -> None:
    migrate.upgrade(url, "0005")

    def fill(connection: Connection) -> None:
        for statement in BEFORE_CODES:
            run_text(statement, connection)

    look(url, fill)
    migrate.upgrade(url)

    def kept(connection: Connection) -> list[tuple[object, ...]]:
        accounts = connection.execute(text("SELECT username, password_hash, password_fits FROM accounts")).all()
        keys = connection.execute(text("SELECT label, expires_at, last_used_at FROM api_keys")).all()
        tokens = connection.execute(text("SELECT token_hash, kind, used_at FROM tokens")).all()
        return [tuple(row) for row in (*accounts, *keys, *tokens)]

    assert look(url, kept) == [("desk", "argon2", None), ("gateway", None, None), ("t", "access", None)]
