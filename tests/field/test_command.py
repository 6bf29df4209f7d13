"""`beacon field` against a running server, as an officer would use it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from app.cli import app
from tests.attachments.sending import picture
from tests.builders import VILLAGE
from tests.conftest import token_of
from tests.processes import ROOT, free_port, serving

URGENT = ("--urgency", "Immediate", "--severity", "Severe", "--certainty", "Observed", "--urgent")


def run(store: Path, *words: str, stdin: str = "") -> tuple[int, str]:
    """The exit code, and all that was said."""
    found = CliRunner().invoke(app, ["field", *words, "--store", str(store)], input=stdin)
    return found.exit_code, found.output


def test_a_report_with_a_photo_goes_from_the_device_to_the_server_and_back(
    sqlite_template: Path, tmp_path: Path
) -> None:
    shutil.copy(sqlite_template, tmp_path / "beacon.db")
    store, photo = tmp_path / "field.db", tmp_path / "dyke.jpg"
    photo.write_bytes(picture())
    key = token_of(VILLAGE, "reporter")
    port = free_port()
    assert run(store, "init", "--server", f"http://127.0.0.1:{port}", stdin=f"{key}\n")[0] == 0
    code, said = run(store, "report", "--hazard", "flood.river", "--figure", "trapped=12", *URGENT)
    urgent = said.strip()
    assert code == 0
    assert run(store, "attach", urgent, str(photo))[0] == 0
    wrong = run(store, "report", "--hazard", "flood.rivre", "--summary", "【演练】漫堤")[1].strip()

    with serving(f"sqlite+aiosqlite:///{tmp_path / 'beacon.db'}", port=port) as served:
        code, said = run(store, "send", "--for", "60")
        assert code == 1
        assert wrong in said
        assert "flood.rivre" in said
        assert urgent not in said
        assert run(store, "correct", wrong, "--hazard", "flood.river")[0] == 0
        assert run(store, "send", "--for", "60") == (0, "")
        assert run(store, "sync", "--for", "60") == (0, "")
        assert run(store, "correct", urgent, "--summary", "【演练】堤上有管涌")[0] == 0
        assert run(store, "send", "--for", "60")[0] == 0
        assert run(store, "sync", "--for", "60") == (0, "")
        stored = httpx.get(f"{served.url}/v1/reports/{urgent}", headers={"Authorization": f"Bearer {key}"}).json()

    assert (stored["version"], stored["figures"], stored["summary"]) == (3, {"trapped": 12}, "【演练】堤上有管涌")
    shown = json.loads(run(store, "status", urgent)[1])
    assert [(step["kind"], step["state"]) for step in shown["steps"]] == [
        ("first", "stored"),
        ("correction", "stored"),
        ("attachment", "stored"),
        ("correction", "stored"),
    ]
    assert [change["type"] for change in shown["happened"]] == ["report.corrected"]
    listed = run(store, "status")[1]
    assert (listed.count("stored 已入库"), listed.count("report.corrected")) == (2, 1)
    assert store.stat().st_mode & 0o077 == 0


def test_without_a_link_it_waits_and_says_so_by_its_exit_code(tmp_path: Path) -> None:
    store = tmp_path / "field.db"
    assert run(store, "init", "--server", f"http://127.0.0.1:{free_port()}", stdin="bk_key\n")[0] == 0
    assert run(store, "send", "--once") == (0, "")
    run(store, "report", "--hazard", "flood.river")

    assert run(store, "send", "--once") == (3, "")
    assert run(store, "sync", "--once") == (3, "")
    assert "waits 待发" in run(store, "status")[1]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["send"], 1, "beacon field init"),
        (["attach", "x", "y"], 1, "no report x"),
        (["correct", "x", "--summary", "y"], 1, "no report x"),
        (["status", "x"], 1, "no report x"),
        (["report", "--hazard", "flood.river", "--figure", "trapped"], 2, "NAME=COUNT"),
        (["report"], 2, "--hazard"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    found = run(tmp_path / "field.db", *words)

    assert found[0] == code
    assert said in found[1]


def test_a_server_that_does_not_answer_cannot_sign_in(tmp_path: Path) -> None:
    server = f"http://127.0.0.1:{free_port()}"

    code, said = run(tmp_path / "f.db", "init", "--server", server, "--username", "u", "--password-stdin", stdin="p\n")

    assert code == 1
    assert "does not answer" in said


def test_the_module_needs_nothing_of_the_server() -> None:
    """A phone has none: what it imports of this project is `app.field`, the clock and the ids."""
    script = "import sys, app.field.command; print(*sorted(m for m in sys.modules if m.startswith('app.')))"

    found = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    own = {name for name in found.stdout.split() if not name.startswith("app.field")}
    assert own == {"app.core", "app.core.clock", "app.core.ids"}
