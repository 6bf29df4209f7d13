"""The form of the statutory report: one row an office, one column a figure; as CSV and XLSX. Offices, no accounts."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from urllib.parse import quote

import xlsxwriter

from app.core.clock import ZONE
from app.figures.offices import Office
from app.figures.rollup import Number, Total, number
from app.figures.service import Rolled, Wanted
from app.hazards.catalogue import FAMILIES, HAZARDS
from app.hazards.figures import FIGURES, Figure

CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"

TITLE = "突发事件情况统计表 Statistical report of emergencies"
DRILL = "【演练】"
_UNITS = {"persons": "人", "houses": "间", "ha": "公顷", "CNY": "元"}
_TIERS = {"city": "市", "town": "乡镇", "village": "村"}
_BORDERS = {"today": "现行 today's", "then": "当时 of the as-of day"}
_INDENT = "\u3000\u3000"
# What a spreadsheet would run as a formula, in either width.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")

Value = str | Number | None


@dataclass(frozen=True, slots=True)
class Form:
    """The report on paper: a title, lines that say what it is of, a header, and rows of texts and numbers."""

    title: str
    about: Sequence[tuple[str, Value]]
    header: Sequence[str]
    rows: Sequence[Sequence[Value]]


def form(wanted: Wanted, found: Rolled[Total]) -> Form:
    """The form filled in. A cell is blank where nobody gave the figure; zero is a figure."""
    root = found.rows[0].office
    about: list[tuple[str, Value]] = [
        ("填报单位 Reporting office", f"{root.name} {root.code}"),
        ("统计时段 Period", f"{_local(wanted.since)} – {_local(wanted.until)}"),
        ("截至 As of", _local(found.as_of)),
        ("行政区划 Borders", f"{_BORDERS[found.borders]} {found.day.isoformat()}"),
        ("灾种 Hazards", _hazards(wanted)),
        ("事件数 Incidents", found.incidents),
        ("报告数 Reports", found.reports),
    ]
    if found.left_out:
        about.append(("未计入单位 Offices left out", found.left_out))
    header = ["单位 Office", "代码 Code", "层级 Tier", *map(_column, FIGURES.values()), "备注 Notes"]
    rows = [
        [
            _name(row.office, root),
            row.office.code,
            f"{_TIERS[row.office.tier]} {row.office.tier}",
            *(number(name, row.figures[name].amount) if name in row.figures else None for name in FIGURES),
            _notes(row.figures),
        ]
        for row in found.rows
    ]
    return Form(f"{DRILL if wanted.drill else ''}{TITLE}", about, header, rows)


def as_csv(filled: Form) -> bytes:
    """The form as CSV (RFC 4180), in UTF-8 with the mark that spreadsheets know it by."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([filled.title])
    writer.writerows([_guarded(label), _guarded(value)] for label, value in filled.about)
    writer.writerow([])
    writer.writerow(filled.header)
    writer.writerows([_guarded(value) for value in row] for row in filled.rows)
    return text.getvalue().encode("utf-8-sig")


def as_xlsx(filled: Form) -> bytes:
    """The form as a workbook of one sheet, with numbers as numbers and texts as texts."""
    file = io.BytesIO()
    workbook = xlsxwriter.Workbook(file, {"in_memory": True})
    sheet = workbook.add_worksheet("统计表 Report")
    title = workbook.add_format({"bold": True, "font_size": 14})
    head = workbook.add_format({"bold": True, "text_wrap": True, "border": 1, "valign": "vcenter"})
    cell = workbook.add_format({"border": 1})
    total = workbook.add_format({"border": 1, "bold": True})
    sheet.write_string(0, 0, filled.title, title)
    line = 1
    for label, value in filled.about:
        sheet.write_string(line, 0, label)
        _put(sheet, line, 1, value, None)
        line += 1
    line += 1
    for column, words in enumerate(filled.header):
        sheet.write_string(line, column, words, head)
    sheet.freeze_panes(line + 1, 1)
    for number_, row in enumerate(filled.rows):
        for column, value in enumerate(row):
            _put(sheet, line + 1 + number_, column, value, cell if number_ else total)
    sheet.set_column(0, 0, 28)
    sheet.set_column(1, len(filled.header) - 2, 14)
    sheet.set_column(len(filled.header) - 1, len(filled.header) - 1, 60)
    sheet.set_landscape()
    workbook.close()
    return file.getvalue()


def disposition(found: Rolled[Total], kind: Literal["csv", "xlsx"]) -> str:
    """The header that names the file: by office and moment, in ASCII and (RFC 6266) in Chinese."""
    office = found.rows[0].office
    stamp = found.as_of.astimezone(ZONE).strftime("%Y%m%d-%H%M")
    chinese = quote(f"统计表-{office.name}-{stamp}.{kind}", safe="")
    return f"attachment; filename=\"figures-{office.code}-{stamp}.{kind}\"; filename*=UTF-8''{chinese}"


def _put(sheet: Any, line: int, column: int, value: Value, style: Any) -> None:
    # Never write(): it makes a formula of a text that looks like one.
    if value is None:
        sheet.write_blank(line, column, None, style)
    elif isinstance(value, str):
        sheet.write_string(line, column, value, style)
    else:
        sheet.write_number(line, column, value, style)


def _guarded(value: Value) -> Value:
    if isinstance(value, str) and value.lstrip(" \u3000").startswith(_RISKY):
        return "'" + value
    return value


def _local(moment: datetime) -> str:
    return moment.astimezone(ZONE).isoformat(" ", "minutes")


def _hazards(wanted: Wanted) -> str:
    if wanted.hazard is not None:
        known = HAZARDS.get(wanted.hazard)
        return f"{known.zh} {known.en}" if known else wanted.hazard
    if wanted.family is not None:
        return f"{FAMILIES[wanted.family].zh} {FAMILIES[wanted.family].en}"
    return "全部 all"


def _column(figure: Figure) -> str:
    return f"{figure.zh}（{_UNITS[figure.unit]}） {figure.en} ({figure.unit})"


def _name(office: Office, root: Office) -> str:
    if office.code == root.code:
        return f"合计 Total {office.name}"
    return f"{_INDENT}{office.name}" if office.tier == "village" and root.tier == "city" else office.name


def _notes(figures: Mapping[str, Total]) -> str:
    said = []
    verified = [
        _verified(FIGURES[name], figures[name]) for name in FIGURES if name in figures and figures[name].verified
    ]
    if verified:
        said.append("核定 verified: " + ", ".join(verified))
    changed = [FIGURES[name].zh for name in FIGURES if name in figures and figures[name].changed]
    if changed:
        said.append("核定后下级有新报 reported below since: " + ", ".join(changed))
    return "; ".join(said)


def _verified(figure: Figure, total: Total) -> str:
    if total.verified == total.incidents:
        return figure.zh
    return f"{figure.zh} ({total.verified}/{total.incidents})"
