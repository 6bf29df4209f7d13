"""A CSV of nodes as rows, or as errors with their line numbers. Pure."""

import csv
import io
import re
from dataclasses import dataclass

from app.core import problems
from app.core.errors import Problem
from app.core.textguard import check, mask, tidy
from app.nodes.models import CODE, MOST_PEOPLE, NAME_LENGTH, TIERS

REQUIRED = ("code", "name", "tier", "parent_code")
OPTIONAL = ("lat", "lon", "population")
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}(\.[0-9]{1,20})?")
_PEOPLE = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Row:
    """One node of the file."""

    line: int
    code: str
    name: str
    tier: str
    parent_code: str | None
    lat: float | None
    lon: float | None
    population: int | None


@dataclass(frozen=True, slots=True)
class RowError:
    """What is wrong with one line."""

    line: int
    node: str
    code: str
    message: str
    message_zh: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """The rows that are right in themselves, what is wrong with the others, and the columns that the file has."""

    rows: list[Row]
    errors: list[RowError]
    columns: frozenset[str]


def parse(content: bytes) -> Parsed:
    """Read the file; a Problem (422) when it is no UTF-8 CSV with the right header."""
    reader = csv.reader(io.StringIO(_text(content), newline=""), strict=True)
    rows: list[Row] = []
    errors: list[RowError] = []
    line = 1
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        # A quoted field may go on over lines: a row is known by its first.
        line = reader.line_num + 1
        for fields in reader:
            row, found = _row(line, header, fields)
            errors += found
            if row is not None:
                rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise _refused(
            f"line {line} is not CSV; look at its quotation marks", f"第 {line} 行不是有效的 CSV，请检查引号"
        ) from error
    if not rows and not errors:
        raise _refused("it has no rows", "没有数据行")
    return Parsed(rows, errors, frozenset(header))


def _refused(reason: str, reason_zh: str) -> Problem:
    return Problem(problems.CSV_INVALID, reason=reason, reason_zh=reason_zh)


def _text(content: bytes) -> str:
    # Without its mark, UTF-16 is known by the zero bytes of the header's Latin letters.
    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in content[:4]:
        raise _refused("it is UTF-16; save it as CSV UTF-8", "编码为 UTF-16，请另存为 CSV UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refused(
            f"line {line} is not UTF-8, perhaps GBK; save it as CSV UTF-8",
            f"第 {line} 行不是 UTF-8 编码（可能是 GBK），请另存为 CSV UTF-8",
        ) from error
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise _refused(f"line {line} has a NUL character", f"第 {line} 行含有空字符")
    return text


def _check_header(header: list[str]) -> None:
    if not any(header):
        raise _refused("its first line is empty; it names the columns", "首行为空，首行应为列名")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise _refused(f"the first line lacks the column {missing[0]}", f"首行缺少列 {missing[0]}")
    unknown = [name for name in header if name not in REQUIRED + OPTIONAL]
    if unknown:
        raise _refused(f"the column {unknown[0][:32]!r} is unknown", f"未知的列 {unknown[0][:32]!r}")
    if len(set(header)) != len(header):
        raise _refused("a column stands twice", "列名重复")


def _row(line: int, header: list[str], fields: list[str]) -> tuple[Row | None, list[RowError]]:
    fields = [field.strip() for field in fields]
    if not any(fields):
        return None, []
    said = dict(zip(header, fields, strict=False))
    code, name, tier, parent = (tidy(said.get(column, "")) for column in REQUIRED)
    errors: list[RowError] = []

    def refuse(kind: str, message: str, message_zh: str) -> None:
        errors.append(RowError(line, _shown(code), kind, message, message_zh))

    if len(fields) != len(header):
        refuse(
            "fields",
            f"{len(header)} fields are expected, {len(fields)} found.",
            f"应有 {len(header)} 列，实有 {len(fields)} 列。",
        )
        return None, errors
    if not CODE.fullmatch(code):
        refuse("code", "A code has 1 to 32 of 0-9 A-Z a-z _ . -", "代码应为 1 至 32 位数字、字母或 _ . -")
    if parent and not CODE.fullmatch(parent):
        refuse(
            "parent", "A parent's code has 1 to 32 of 0-9 A-Z a-z _ . -", "上级代码应为 1 至 32 位数字、字母或 _ . -"
        )
    if not 1 <= len(name) <= NAME_LENGTH or check(name, multiline=False) is not None:
        refuse(
            "name", f"A name has 1 to {NAME_LENGTH} visible characters.", f"名称应为 1 至 {NAME_LENGTH} 个可见字符。"
        )
    elif mask(name)[1]:
        refuse("name_personal", "A name holds no phone or identity number.", "名称不能含电话或证件号码。")
    if tier not in TIERS:
        refuse("tier", "The tier is city, town or village.", "tier 应为 city、town 或 village。")
    lat = lon = None
    try:
        lat, lon = _degrees(said.get("lat", ""), 90), _degrees(said.get("lon", ""), 180)
        if (lat is None) != (lon is None):
            raise ValueError
    except ValueError:
        refuse("location", "lat is -90 to 90 and lon -180 to 180, both or neither.", "经纬度超出范围或不成对。")
    population = said.get("population", "")
    if population and not (_PEOPLE.fullmatch(population) and int(population) <= MOST_PEOPLE):
        refuse("population", f"The population is a whole number, 0 to {MOST_PEOPLE}.", "人口应为非负整数。")
    if errors:
        return None, errors
    return Row(line, code, name, tier, parent or None, lat, lon, int(population) if population else None), []


def _shown(code: str) -> str:
    """What stands for a code in an error, also on a terminal."""
    return "".join(character if character.isprintable() else "?" for character in code[:32])


def _degrees(text: str, most: float) -> float | None:
    """The number, None for an empty field; ValueError for anything else."""
    if not text:
        return None
    if not _NUMBER.fullmatch(text) or abs(float(text)) > most:
        raise ValueError
    return float(text)
