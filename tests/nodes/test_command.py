"""`beacon nodes import`."""

import io
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy.ext.asyncio import AsyncConnection

import app.demo
from app.core.database import Database
from app.core.errors import Problem
from app.nodes.command import MOST_ERRORS, import_file
from app.nodes.models import Node
from app.nodes.service import TreeChange
from tests.builders import CITY, NOON, OTHER_TOWN, TOWN, TREE, VILLAGE
from tests.tables import rows

pytestmark = pytest.mark.anyio

HEADER = "code,name,tier,parent_code\n"


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=40)


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def file_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "nodes.csv"
    path.write_text(HEADER + text, encoding="utf-8")
    return path


async def test_an_import_prints_its_counts(database: Database, tmp_path: Path, console: Console) -> None:
    path = file_of(tmp_path, f"v-1,演练村,village,{TOWN}\n{VILLAGE},甲村,village,{TOWN}\n{TOWN},上口镇,town,{CITY}\n")

    assert await import_file(database, path, dry_run=False, now=NOON, console=console) == 0

    assert printed(console)[-1] == "1 created, 1 updated, 1 unchanged."
    assert len(await rows(database, Node)) == len(TREE) + 1


async def test_the_real_city_is_imported_whole_and_is_the_same_again(database: Database, console: Console) -> None:
    path = Path(app.demo.__file__).parent / "shouguang.csv"

    assert await import_file(database, path, dry_run=False, now=NOON, console=console) == 0
    assert await import_file(database, path, dry_run=False, now=NOON, console=console) == 0

    first, again = (line for line in printed(console) if line.endswith("unchanged."))
    assert again == "0 created, 0 updated, 1029 unchanged."
    assert first != again
    inside = {line.split(",")[0] for line in path.read_text(encoding="utf-8-sig").splitlines()[1:]}
    tiers = Counter(row.tier for row in await rows(database, Node) if row.code in inside)
    assert tiers == {"city": 1, "town": 15, "village": 1013}


async def test_a_dry_run_says_what_it_would_do(database: Database, tmp_path: Path, console: Console) -> None:
    path = file_of(tmp_path, f"v-1,演练村,village,{TOWN}\n")

    assert await import_file(database, path, dry_run=True, now=NOON, console=console) == 0

    assert printed(console) == ["1 created, 0 updated, 0 unchanged (dry run: nothing was stored)."]
    assert len(await rows(database, Node)) == len(TREE)


@pytest.mark.parametrize("dry_run", [True, False])
async def test_each_error_is_one_line_and_nothing_is_stored(
    database: Database, tmp_path: Path, console: Console, dry_run: bool
) -> None:
    lines = "".join(f"v-{number},[bold]村,village,nowhere\n" for number in range(MOST_ERRORS + 5))
    path = file_of(tmp_path, f"v-ok,村,village,{TOWN}\n" + lines)

    assert await import_file(database, path, dry_run=dry_run, now=NOON, console=console) == 1

    said = printed(console)
    assert said[0] == "line 3: v-0: There is no node nowhere. 没有上级节点 nowhere。"
    assert said[MOST_ERRORS:] == ["... and 5 more.", "105 error(s); nothing was stored."]
    assert len(await rows(database, Node)) == len(TREE)


async def test_who_follows_the_tree_is_told(database: Database, tmp_path: Path, console: Console) -> None:
    told: list[str] = []

    async def listener(conn: AsyncConnection, changes: Sequence[TreeChange], now: datetime) -> None:
        told.extend(f"{change.kind} {change.old_parent} {change.new_parent}" for change in changes)

    path = file_of(tmp_path, f"{VILLAGE},口子村,village,{OTHER_TOWN}\n")
    await import_file(database, path, dry_run=False, now=NOON, console=console, listeners=[listener])

    assert told == [f"moved {TOWN} {OTHER_TOWN}"]


async def test_a_file_that_cannot_be_read_is_refused_with_a_sentence(
    database: Database, tmp_path: Path, console: Console
) -> None:
    missing = tmp_path / "no.csv"
    with pytest.raises(ValueError, match=r"no\.csv cannot be read: No such file or directory\."):
        await import_file(database, missing, dry_run=True, now=NOON, console=console)

    missing.write_bytes("代码".encode("gbk"))
    with pytest.raises(Problem) as caught:
        await import_file(database, missing, dry_run=True, now=NOON, console=console)
    assert caught.value.kind.code == "csv_invalid"
