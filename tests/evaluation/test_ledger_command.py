"""`beacon ledger` as a command: one clear line when it cannot."""

import json

import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.builders import CITY

DAY = ("--from", "2018-08-19", "--to", "2018-08-19")


def run(*words: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["ledger", *words])
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture(autouse=True)
def _database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEACON_DATABASE_URL", database_url)


def test_a_quiet_day_is_told_in_two_languages_and_to_machines() -> None:
    code, out, _ = run(*DAY, "--city", CITY)
    assert code == 0
    assert "Reports at orange or red: 0" in out
    assert "橙色、红色报告 0 份" in out

    code, out, _ = run(*DAY, "--city", CITY, "--json")
    found = json.loads(out)
    assert (code, found["from"], found["to"]) == (0, "2018-08-18T16:00:00Z", "2018-08-19T16:00:00Z")
    assert (found["reports"], found["rows"], found["next"]) == (0, [], None)


REFUSED: list[tuple[tuple[str, ...], str]] = [
    (DAY, "There are 2 cities: name one with --city.\n"),
    ((*DAY, "--city", "1"), "There is no city 1.\n"),
    (("--from", "2018-08-20", "--to", "2018-08-19"), "from must lie before to. Choose another period.\n"),
    (
        ("--from", "2018-08-20T00:00:00", "--to", "2018-08-20"),
        "2018-08-20T00:00:00 is neither a day (2018-08-20) nor a time with its offset.\n",
    ),
    (("--from", "2018-02-30", "--to", "2018-08-20"), "2018-02-30 is neither a day (2018-08-20) nor a time"),
    ((*DAY, "--drill", "x"), "x is not the id of a drill.\n"),
]


def test_what_cannot_be_answered_is_refused_with_one_line() -> None:
    for words, line in REFUSED:
        code, out, said = run(*words)
        assert (code, out) == (1, ""), words
        assert said.startswith(line)
        assert said.count("\n") == 1
    # A period is needed.
    assert run()[0] == 2
