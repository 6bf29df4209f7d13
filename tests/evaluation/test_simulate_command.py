"""`beacon policy simulate` as a command: one clear line when it cannot."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.hazards.policy import DEFAULT


def run(*words: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["policy", "simulate", *words])
    return found.exit_code, found.stdout, found.stderr


@pytest.fixture
def packaged(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BEACON_DATABASE_URL", database_url)
    path = tmp_path / "my-policy.toml"
    path.write_text(DEFAULT.read_text("utf-8"), "utf-8")
    return str(path)


def test_an_empty_history_has_nothing_to_differ(packaged: str) -> None:
    assert run(packaged, "--since", "2018-08-19") == (0, "No reports were received in that time.\n", "")

    code, out, _ = run(packaged, "--since", "2018-08-19", "--until", "2018-08-20", "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["differs"], found["since"], found["until"]) == (
        False,
        "2018-08-18T16:00:00+00:00",
        "2018-08-20T16:00:00+00:00",
    )


def test_a_wrong_policy_is_refused_with_one_line(packaged: str) -> None:
    Path(packaged).write_text(DEFAULT.read_text("utf-8").replace("at_least = 10", "at_least = 0", 1), "utf-8")

    assert run(packaged, "--since", "2018-08-19") == (
        1,
        "",
        "rule 'loss.grave', at_least: it should be greater than 0.\n",
    )


def test_days_in_the_wrong_order_and_no_day_are_refused(packaged: str) -> None:
    code, _, said = run(packaged, "--since", "2018-08-19", "--until", "2018-08-18")

    assert (code, said) == (1, "The last day lies before the first: exchange --since and --until.\n")
    assert run(packaged, "--since", "yesterday")[0] == 2
    assert run(packaged)[0] == 2


@pytest.mark.parametrize(
    "url", ["postgresql+asyncpg://beacon@127.0.0.1:1/beacon", "sqlite+aiosqlite:///{folder}/none.db"]
)
def test_no_database_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BEACON_DATABASE_URL", url.format(folder=tmp_path))

    code, out, said = run(str(DEFAULT), "--since", "2018-08-19")

    assert (code, out) == (1, "")
    assert said.startswith("The database cannot be reached, or has no tables yet")
    assert said.count("\n") == 1
