"""`beacon accounts` and `beacon keys`, as they are typed on the server."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.accounts import command
from app.accounts.codes import plain
from app.accounts.models import Account, ApiKey, Code
from app.accounts.passwords import NO_PASSWORD, Passwords
from app.cli import app
from app.core.database import Base, Database
from tests.accounts.people import PASSWORD, cheap
from tests.accounts.test_secrecy import everything_logged
from tests.builders import OTHER_CITY_VILLAGE, TOWN, VILLAGE
from tests.tables import rows


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("BEACON_DATABASE_URL", database_url)
    monkeypatch.setattr(command, "Passwords", lambda: Passwords(cheap()))


def beacon(*words: str, stdin: str | None = None) -> Result:
    with everything_logged():
        return CliRunner().invoke(app, words, input=stdin)


def stored(url: str, table: type[Base]) -> list[Any]:
    """The rows of a table."""

    async def find() -> list[Any]:
        database = Database(url, pool=1)
        try:
            return list(await rows(database, table))
        finally:
            await database.close()

    return asyncio.run(find())


def password_of(url: str) -> str:
    """What is kept of the newcomer's password."""
    return next(str(row.password_hash) for row in stored(url, Account) if row.username == "newcomer")


def test_an_account_is_made_with_a_code_that_alone_is_printed(database_url: str) -> None:
    made = beacon("accounts", "create", "--username", "newcomer", "--node", VILLAGE, "--role", "reporter", "--code")

    assert made.exit_code == 0, made.output
    assert plain(made.stdout) is not None
    assert made.stdout.count("\n") == 1
    assert password_of(database_url) == NO_PASSWORD
    assert made.stdout.strip() not in made.stderr


def test_an_account_lives_on_the_command_line(database_url: str) -> None:
    create = ("accounts", "create", "--username", "newcomer", "--node", TOWN, "--role", "reporter", "--password-stdin")
    made = beacon(*create, stdin=PASSWORD + "\n")
    assert made.exit_code == 0, made.output

    for words, said in (
        (("disable",), "Disabled newcomer."),
        (("enable",), "Enabled newcomer."),
        (("role", "desk"), f"newcomer is desk at {TOWN}."),
        (("move", VILLAGE), f"newcomer is desk at {VILLAGE}."),
    ):
        found = beacon("accounts", words[0], "newcomer", *words[1:])
        assert (found.exit_code, found.stdout.strip()) == (0, said)
        assert "account changed" in found.stderr
        assert "server" in found.stderr

    listed = beacon("accounts", "list", "--node", VILLAGE)
    assert f"newcomer\tdesk\t{VILLAGE}\tin use" in listed.stdout.splitlines()
    for word in ("code", "reset"):
        found = beacon("accounts", word, "newcomer")
        assert plain(found.stdout) is not None
        assert len(stored(database_url, Code)) == 1
    assert password_of(database_url) == NO_PASSWORD
    assert "no password" in beacon("accounts", "list", "--node", VILLAGE).stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("role", "stranger", "desk"), "There is no account stranger."),
        (("reset", "stranger"), "There is no account stranger."),
        (("role", f"desk-{TOWN}", "mayor"), "Unknown role: mayor."),
        (("move", f"desk-{TOWN}", OTHER_CITY_VILLAGE), "There is no node"),
        (("move", f"desk-{TOWN}", "1"), "There is no node"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(words: tuple[str, ...], line: str) -> None:
    found = beacon("accounts", *words)

    assert found.exit_code == 1
    assert found.stderr.strip().splitlines()[-1].startswith(line)


def test_a_key_may_have_a_last_day(database_url: str) -> None:
    given = ("--node", TOWN, "--scope", "alerts:read", "--label", "gateway")
    made = beacon("keys", "create", *given, "--expires", "2190-01-01")

    assert made.exit_code == 0, made.output
    (key,) = stored(database_url, ApiKey)
    assert isinstance(key.expires_at, datetime)
    assert key.expires_at == datetime(2189, 12, 31, 16, tzinfo=UTC)
    assert beacon("keys", "create", *given, "--expires", "2001-01-01").exit_code == 1
