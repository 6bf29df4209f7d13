import csv
import io
import zipfile
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest
from fastapi import FastAPI

from app.hazards.figures import FIGURES
from tests.builders import CITY, FAR_VILLAGE, NEIGHBOUR, NOON, OTHER_TOWN, TOWN, VILLAGE
from tests.drills.acts import begin
from tests.figures.acts import filed

pytestmark = pytest.mark.anyio

As = Callable[[str, str], dict[str, str]]

PERIOD = {"from": (NOON - timedelta(days=1)).isoformat(), "to": (NOON + timedelta(days=1)).isoformat()}
SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


async def exported(client: httpx.AsyncClient, headers: dict[str, str], kind: str, **params: Any) -> httpx.Response:
    answer = await client.get(f"/v1/export/figures.{kind}", headers=headers, params={**PERIOD, **params})
    assert answer.status_code == 200, answer.text
    return answer


def lines(answer: httpx.Response) -> list[list[str]]:
    assert answer.content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))


def cells(answer: httpx.Response) -> list[list[Any]]:
    """The rows of the sheet: texts, numbers, None where blank. It has no formula."""
    with zipfile.ZipFile(io.BytesIO(answer.content)) as parts:
        shared = ElementTree.fromstring(parts.read("xl/sharedStrings.xml"))
        texts = ["".join(one.itertext()) for one in shared.iter(f"{SHEET}si")]
        sheet = ElementTree.fromstring(parts.read("xl/worksheets/sheet1.xml"))
    assert not list(sheet.iter(f"{SHEET}f"))

    def value(cell: ElementTree.Element) -> Any:
        found = cell.find(f"{SHEET}v")
        if found is None or found.text is None:
            return None
        return texts[int(found.text)] if cell.get("t") == "s" else float(found.text)

    return [[value(cell) for cell in row.iter(f"{SHEET}c")] for row in sheet.iter(f"{SHEET}row")]


async def seed(client: httpx.AsyncClient, as_: As) -> None:
    incident = (await filed(client, as_(VILLAGE, "reporter"), dead=0, affected=320))["incident_id"]
    await filed(client, as_(TOWN, "desk"), node=NEIGHBOUR, incident_id=incident, affected=80, crop_area_lost_ha=1.5)
    later = (NOON - timedelta(minutes=1)).isoformat()
    town = as_(TOWN, "desk")
    await filed(client, town, kind="final", incident_id=incident, observed_at=later, affected=390)
    await filed(client, as_(FAR_VILLAGE, "reporter"), hazard="fire.building", direct_loss_cny=1234.5)


async def test_the_form_has_a_total_and_a_row_for_each_office_and_a_column_for_each_figure(
    client: httpx.AsyncClient, as_: As
) -> None:
    await seed(client, as_)

    answer = await exported(client, as_(CITY, "desk"), "csv")
    found = lines(answer)

    assert found[:9] == [
        ["突发事件情况统计表 Statistical report of emergencies"],
        ["填报单位 Reporting office", f"寿光市 {CITY}"],
        ["统计时段 Period", "2018-08-19 12:15+08:00 – 2018-08-21 12:15+08:00"],
        ["截至 As of", "2018-08-20 12:15+08:00"],
        ["行政区划 Borders", "现行 today's 2018-08-20"],
        ["灾种 Hazards", "全部 all"],
        ["事件数 Incidents", "2"],
        ["报告数 Reports", "4"],
        [],
    ]
    header, *rows = found[9:]
    assert header[:4] == ["单位 Office", "代码 Code", "层级 Tier", "受灾人口（人） people affected (persons)"]
    assert header[-2:] == ["直接经济损失（元） direct economic loss (CNY)", "备注 Notes"]
    assert len(header) == len(FIGURES) + 4

    def row(name: str, code: str, tier: str, notes: str = "", **given: str) -> list[str]:
        return [name, code, tier, *(given.get(figure, "") for figure in FIGURES), notes]

    assert rows == [
        row(
            "合计 Total 寿光市",
            CITY,
            "市 city",
            affected="390",
            dead="0",
            crop_area_lost_ha="1.5",
            direct_loss_cny="1234.5",
        ),
        row("圣城街道", OTHER_TOWN, "乡镇 town", direct_loss_cny="1234.5"),
        row("\u3000\u3000北关社区", FAR_VILLAGE, "村 village", direct_loss_cny="1234.5"),
        row(
            "上口镇",
            TOWN,
            "乡镇 town",
            "核定 verified: 受灾人口",
            affected="390",
            dead="0",
            crop_area_lost_ha="1.5",
        ),
        row("\u3000\u3000口子村", VILLAGE, "村 village", affected="320", dead="0"),
        row("\u3000\u3000东堤村", NEIGHBOUR, "村 village", affected="80", crop_area_lost_ha="1.5"),
    ]


async def test_the_workbook_says_the_same_as_the_csv(client: httpx.AsyncClient, as_: As) -> None:
    await seed(client, as_)
    city = as_(CITY, "desk")

    text = [row for row in lines(await exported(client, city, "csv")) if row]
    book = cells(await exported(client, city, "xlsx"))

    def said(value: Any) -> str:
        return "" if value is None else f"{value:g}" if isinstance(value, float) else value

    assert [[said(value) for value in row] for row in book] == text


async def test_files_are_named_for_the_office_and_the_moment(client: httpx.AsyncClient, as_: As) -> None:
    for kind, media in (
        ("csv", "text/csv; charset=utf-8"),
        ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ):
        answer = await exported(client, as_(TOWN, "desk"), kind)
        assert answer.headers["content-type"] == media
        assert answer.headers["content-disposition"] == (
            f'attachment; filename="figures-{TOWN}-20180820-1215.{kind}"; '
            "filename*=UTF-8''%E7%BB%9F%E8%AE%A1%E8%A1%A8-%E4%B8%8A%E5%8F%A3%E9%95%87-20180820-1215." + kind
        )


async def test_a_town_exports_its_own_subtree_only(client: httpx.AsyncClient, as_: As) -> None:
    await seed(client, as_)

    for kind, read in (("csv", lines), ("xlsx", cells)):
        found = read(await exported(client, as_(OTHER_TOWN, "desk"), kind))
        codes = [row[1] for row in found if len(row) > 4][1:]
        assert codes == [OTHER_TOWN, FAR_VILLAGE]
        assert TOWN not in str(found)


async def test_no_name_becomes_a_formula(client: httpx.AsyncClient, as_: As) -> None:
    await seed(client, as_)
    admin = as_(CITY, "admin")
    for code, name in ((VILLAGE, '=HYPERLINK("http://a")'), (TOWN, "@SUM(1)"), (OTHER_TOWN, "-2+3"), (NEIGHBOUR, "+1")):
        answer = await client.patch(f"/v1/nodes/{code}", headers=admin, json={"name": name})
        assert answer.status_code == 200, answer.text

    names = [row[0] for row in lines(await exported(client, admin, "csv")) if len(row) > 4]
    book = [row[0] for row in cells(await exported(client, admin, "xlsx")) if len(row) > 4]

    assert [name for name in names if name.strip().startswith(("=", "+", "-", "@"))] == []
    assert "'@SUM(1)" in names
    assert '\'\u3000\u3000=HYPERLINK("http://a")' in names
    assert "@SUM(1)" in book


async def test_an_export_tells_offices_and_never_accounts(client: httpx.AsyncClient, as_: As) -> None:
    stored = await filed(client, as_(VILLAGE, "reporter"), affected=1)
    assert stored["account_id"]

    for kind, read in (("csv", lines), ("xlsx", cells)):
        text = str(read(await exported(client, as_(VILLAGE, "desk"), kind)))
        assert stored["account_id"] not in text
        assert "reporter" not in text


async def test_an_export_says_which_figures_are_of_a_drill_of_then_or_of_one_hazard(
    app: FastAPI, client: httpx.AsyncClient, as_: As
) -> None:
    city = as_(CITY, "desk")
    drill = (await begin(client, city))["id"]
    await filed(client, as_(VILLAGE, "reporter"), drill_id=drill, affected=7)
    as_of = app.state.clock.now().isoformat()
    app.state.clock.advance(timedelta(days=1))

    found = lines(await exported(client, city, "csv", drill=drill, as_of=as_of, borders="then", hazard="flood.river"))
    none = lines(await exported(client, city, "csv", family="health"))

    assert found[0][0].startswith("【演练】")
    assert found[4:6] == [
        ["行政区划 Borders", "当时 of the as-of day 2018-08-20"],
        ["灾种 Hazards", "河道洪水 river flood"],
    ]
    assert found[10][3] == "7"
    assert none[5] == ["灾种 Hazards", "公共卫生 public health"]
    assert none[10][3] == ""
