"""A CSV over HTTP: validated or committed, all of it or nothing. Today is 2018-08-20."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event, select
from sqlalchemy.ext.asyncio import AsyncConnection

import app.demo
from app.core.clock import day_of
from app.core.database import Database
from app.core.errors import Problem
from app.nodes import csvfile, importing
from app.nodes.models import City, Node, NodeSpan
from app.nodes.service import TreeChange
from tests.builders import CITY, FAR_VILLAGE, NOON, OTHER_CITY, OTHER_TOWN, TOWN, TREE, VILLAGE
from tests.tables import rows

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]
Import = Callable[..., Any]

REAL = Path(app.demo.__file__).parent / "shouguang.csv"
HEADER = "code,name,tier,parent_code\n"
NEW_TOWN = f"t-1,演练镇,town,{CITY}\nv-1,演练村,village,t-1\n"


@pytest.fixture
def send(client: httpx.AsyncClient, as_: As) -> Import:
    async def post(text: str, mode: str = "commit", at: str = CITY, header: str = HEADER, **query: str) -> Any:
        answer = await client.post(
            "/v1/nodes/import",
            params={"mode": mode} | query,
            content=(header + text).encode(),
            headers=as_(at, "admin") | {"content-type": "text/csv; charset=utf-8"},
        )
        return {"http": answer.status_code} | answer.json()

    return post


async def everything(database: Database) -> list[set[Any]]:
    return [set(await rows(database, table)) for table in (City, Node, NodeSpan)]


def said(answer: dict[str, Any], key: str = "rows") -> list[tuple[int, str]]:
    return [(row["line"], row.get("status") or row["code"]) for row in answer[key]]


async def test_a_file_is_taken_and_a_second_time_changes_nothing(send: Import, database: Database) -> None:
    first = await send(NEW_TOWN)
    stored = await everything(database)
    again = await send(NEW_TOWN)

    assert (first["http"], first["valid"], first["stored"]) == (200, True, True)
    assert said(first) == [(2, "created"), (3, "created")]
    assert said(again) == [(2, "unchanged"), (3, "unchanged")]
    assert await everything(database) == stored
    async with database.reading() as conn:
        spans = await conn.execute(select(NodeSpan.since, NodeSpan.parent_code).where(NodeSpan.code == "v-1"))
        assert [tuple(span) for span in spans] == [(day_of(NOON), "t-1")]


async def test_validating_says_the_same_and_stores_nothing(send: Import, database: Database) -> None:
    before = await everything(database)

    sound = await send(NEW_TOWN, "validate")
    wrong = await send(NEW_TOWN + "v-2,,village,t-1\n", "validate")

    assert (sound["http"], sound["valid"], sound["stored"]) == (200, True, False)
    assert said(sound) == [(2, "created"), (3, "created")]
    assert (wrong["http"], wrong["valid"]) == (200, False)
    assert said(wrong, "errors") == [(4, "name")]
    assert await everything(database) == before


async def test_one_wrong_line_keeps_all_others_out(send: Import, database: Database) -> None:
    before = await everything(database)

    refused = await send(NEW_TOWN + "v-2,村,village,nowhere\nv 3,村,village,t-1\n")

    assert (refused["http"], refused["code"]) == (422, "csv_rows_invalid")
    assert said(refused) == [(4, "parent_missing"), (5, "code")]
    assert all(row["message"] and row["message_zh"] for row in refused["rows"])
    assert await everything(database) == before


async def test_a_listener_that_fails_keeps_the_whole_file_out(send: Import, app: FastAPI, database: Database) -> None:
    async def broken(conn: AsyncConnection, changes: Sequence[TreeChange], now: Any) -> None:
        raise RuntimeError

    before = await everything(database)
    app.state.tree_listeners.append(broken)

    assert (await send(NEW_TOWN))["http"] == 500
    assert await everything(database) == before


async def test_a_known_code_is_renamed_moved_and_placed(
    send: Import, client: httpx.AsyncClient, as_: As, app: FastAPI
) -> None:
    told: list[tuple[str, str, str | None, str | None]] = []

    async def listener(conn: AsyncConnection, changes: Sequence[TreeChange], now: Any) -> None:
        told.extend((change.kind, change.code, change.old_parent, change.new_parent) for change in changes)

    app.state.tree_listeners.append(listener)
    answer = await send(
        f"{VILLAGE},新口子村,village,{OTHER_TOWN},36.9,118.9,820\n"
        f"{FAR_VILLAGE},北关社区,village,{OTHER_TOWN},,,5\n"
        f"v-1,演练村,village,{TOWN},,,\n",
        header="code,name,tier,parent_code,lat,lon,population\n",
        on="2018-08-01",
    )

    assert said(answer) == [(2, "updated"), (3, "updated"), (4, "created")]
    headers = as_(CITY, "reporter")
    now = (await client.get(f"/v1/nodes/{VILLAGE}", headers=headers)).json()
    then = (await client.get(f"/v1/nodes/{VILLAGE}?on=2018-07-31", headers=headers)).json()
    assert {
        "name": "新口子村",
        "parent": OTHER_TOWN,
        "lat": 36.9,
        "population": 820,
        "version": 2,
    }.items() <= now.items()
    assert (then["name"], then["parent"]) == ("口子村", TOWN)
    assert (await client.get(f"/v1/nodes/{FAR_VILLAGE}", headers=headers)).json()["population"] == 5
    assert len((await client.get(f"/v1/nodes/{FAR_VILLAGE}/history", headers=headers)).json()["items"]) == 1
    assert told == [
        ("created", "v-1", None, TOWN),
        ("moved", VILLAGE, TOWN, OTHER_TOWN),
        ("renamed", VILLAGE, OTHER_TOWN, OTHER_TOWN),
    ]


async def test_a_column_that_the_file_lacks_says_nothing(send: Import, client: httpx.AsyncClient, as_: As) -> None:
    await client.patch(f"/v1/nodes/{VILLAGE}", json={"population": 820}, headers=as_(CITY, "admin"))

    answer = await send(f"{VILLAGE},口子村,village,{TOWN}\n")

    assert said(answer) == [(2, "unchanged")]


async def test_a_day_that_does_not_fit_is_an_error_of_its_line_before_anything_is_stored(send: Import) -> None:
    await send(f"{VILLAGE},甲村,village,{TOWN}\n", on="2018-08-10")
    renamed = f"{FAR_VILLAGE},丙村,village,{OTHER_TOWN}\n{VILLAGE},乙村,village,{TOWN}\n"

    assert said(await send(renamed, "validate", on="2018-08-09"), "errors") == [(3, "date")]
    assert said(await send(renamed, on="2018-08-09")) == [(3, "date")]
    assert (await send(renamed, on="2018-08-21"))["code"] == "node_date_wrong"
    assert said(await send(renamed, on="2018-08-10")) == [(2, "updated"), (3, "updated")]


async def test_a_node_that_will_close_can_be_renamed_until_then(
    send: Import, client: httpx.AsyncClient, as_: As
) -> None:
    headers = as_(CITY, "admin")
    await client.patch(f"/v1/nodes/{VILLAGE}", json={"closed_on": "2018-09-01"}, headers=headers)

    assert said(await send(f"{VILLAGE},甲村,village,{TOWN}\n")) == [(2, "updated")]

    spans = (await client.get(f"/v1/nodes/{VILLAGE}/history", headers=headers)).json()["items"]
    assert [(span["name"], span["until"]) for span in spans] == [("口子村", "2018-08-20"), ("甲村", "2018-09-01")]


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (CITY, f"{OTHER_CITY},安丘市,city,\n"),
        (CITY, "c-9,新市,city,\n"),
        (CITY, f"370784001001,村,village,{TOWN}\n"),
        (TOWN, f"v-1,村,village,{OTHER_TOWN}\n"),
        (TOWN, f"{FAR_VILLAGE},村,village,{TOWN}\n"),
        (TOWN, f"{VILLAGE},口子村,village,{OTHER_TOWN}\n"),
        (TOWN, f"t-1,镇,town,{CITY}\n"),
        (TOWN, f"{FAR_VILLAGE},镇,town,{CITY}\n"),
        (VILLAGE, f"v-1,村,village,{TOWN}\n"),
    ],
)
async def test_nobody_imports_outside_the_own_subtree_nor_learns_of_it(
    send: Import, database: Database, at: str, text: str
) -> None:
    before = await everything(database)

    assert said(await send(text, at=at)) == [(2, "outside")]
    assert await everything(database) == before


async def test_a_town_imports_its_villages(send: Import) -> None:
    text = f"v-1,演练村,village,{TOWN}\n{VILLAGE},甲村,village,{TOWN}\n"

    assert said(await send(text, at=TOWN)) == [(2, "created"), (3, "updated")]


async def test_a_file_in_gbk_is_refused_in_the_callers_language(client: httpx.AsyncClient, as_: As) -> None:
    headers = as_(CITY, "admin") | {"content-type": "text/csv", "accept-language": "zh-CN"}

    answer = await client.post(
        "/v1/nodes/import?mode=commit", content=(HEADER + NEW_TOWN).encode("gbk"), headers=headers
    )

    assert (answer.status_code, answer.json()["code"]) == (422, "csv_invalid")
    assert answer.json()["detail"] == "无法读取文件：第 2 行不是 UTF-8 编码（可能是 GBK），请另存为 CSV UTF-8。"


async def test_only_csv_is_taken(client: httpx.AsyncClient, as_: As) -> None:
    answer = await client.post("/v1/nodes/import?mode=commit", json={}, headers=as_(CITY, "admin"))

    assert (answer.status_code, answer.json()["code"]) == (415, "media_type_unsupported")


async def test_an_upload_under_way_keeps_nobody_from_writing(client: httpx.AsyncClient, as_: As, send: Import) -> None:
    async def slowly() -> Any:
        yield HEADER.encode()
        renamed = await client.patch(f"/v1/nodes/{VILLAGE}", json={"name": "甲村"}, headers=as_(CITY, "admin"))
        assert renamed.status_code == 200
        yield NEW_TOWN.encode()

    answer = await client.post(
        "/v1/nodes/import?mode=commit", content=slowly(), headers=as_(CITY, "admin") | {"content-type": "text/csv"}
    )

    assert answer.status_code == 200


async def test_the_real_tree_is_stored_in_a_few_statements_and_is_the_same_again(database: Database) -> None:
    parsed = csvfile.parse(REAL.read_bytes())
    today = day_of(NOON)
    statements: list[str] = []
    engine = database.engines[0].sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def count(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "nodes" in statement or "node_spans" in statement:
            statements.append(statement)

    done: list[int] = []
    async with database.writing() as conn:
        made = await importing.plan(conn, parsed, on=today, today=today, lock=True)
        assert made.errors == []
        await importing.carry_out(conn, made, now=NOON, progress=done.append)
    event.remove(engine, "before_cursor_execute", count)

    there = {code for code, *_ in TREE}
    assert [row.code for row in made.new if row.code in there] == []
    assert {each.node for each in made.results if each.status != "created"} == there & {row.code for row in parsed.rows}
    assert len(made.results) == 1029
    assert done[-1] == len(made.new) + len(made.changed) > 1000
    # Comparing takes 2 and 1, storing two thousand rows 4, changing 3.
    assert len(statements) <= 10
    async with database.reading() as conn:
        again = await importing.plan(conn, parsed, on=today, today=today)
    assert {each.status for each in again.results} == {"unchanged"}
    assert (again.new, again.changed) == ([], [])


async def test_a_new_city_comes_with_its_own_row(database: Database) -> None:
    parsed = csvfile.parse((HEADER + "v,村,village,t\nt,镇,town,c\nc,市（演练）,city,\n").encode())
    today = day_of(NOON)

    async with database.writing() as conn:
        made = await importing.plan(conn, parsed, on=today, today=today, lock=True)
        await importing.carry_out(conn, made, now=NOON)

    assert {(row.city_id, row.created_at) for row in await rows(database, City) if row.city_id == "c"} == {("c", NOON)}
    assert {row.code: row.city_id for row in await rows(database, Node) if row.city_id == "c"} == dict.fromkeys(
        "ctv", "c"
    )


async def test_a_city_that_another_import_made_meanwhile_is_told(database: Database) -> None:
    parsed = csvfile.parse((HEADER + "c,市（演练）,city,\n").encode())
    today = day_of(NOON)
    async with database.reading() as conn:
        first, second = [await importing.plan(conn, parsed, on=today, today=today) for _ in range(2)]

    async with database.writing() as conn:
        await importing.carry_out(conn, first, now=NOON)
    stored = await everything(database)
    with pytest.raises(Problem) as caught:
        async with database.writing() as conn:
            await importing.carry_out(conn, second, now=NOON)

    assert caught.value.kind.code == "node_taken"
    assert await everything(database) == stored
