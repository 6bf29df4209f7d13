"""A CSV of nodes as rows or as errors with their line numbers. Pure: what the database knows is passed in."""

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.core import problems
from app.core.errors import Problem
from app.core.textguard import check, tidy
from app.nodes.models import TIERS

REQUIRED = ("code", "name", "tier", "parent_code")
OPTIONAL = ("lat", "lon", "population")
CODE = re.compile(r"[0-9A-Za-z_.-]{1,32}")
NAME_LENGTH = 80


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
class Known:
    """A node that the database has: what a file may refer to."""

    tier: str
    city_id: str
    parent_code: str | None
    is_open: bool


@dataclass(frozen=True, slots=True)
class Parsed:
    """The rows, parents before children, and everything that is wrong; `columns` are those the file has."""

    rows: list[Row]
    errors: list[RowError]
    columns: frozenset[str]


def parse(content: bytes) -> Parsed:
    """Read the file; a Problem (422) when it is no UTF-8 CSV with the right header."""
    reader = csv.reader(io.StringIO(_text(content), newline=""), strict=True)
    rows: list[Row] = []
    errors: list[RowError] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(header)
        for fields in reader:
            line = reader.line_num
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(header):
                errors.append(
                    RowError(
                        line,
                        fields[0][:32],
                        "fields",
                        f"{len(header)} fields are expected, {len(fields)} found.",
                        f"应有 {len(header)} 列，实有 {len(fields)} 列。",
                    )
                )
                continue
            row, found = _row(line, dict(zip(header, (field.strip() for field in fields), strict=True)))
            errors += found
            if row is not None:
                rows.append(row)
    except csv.Error as error:
        raise Problem(problems.CSV_INVALID, reason=f"line {reader.line_num}: {error}") from error
    if not rows and not errors:
        raise Problem(problems.CSV_INVALID, reason="it has no rows")
    return Parsed(rows, errors, frozenset(header))


def check_tree(rows: list[Row], known: Mapping[str, Known]) -> tuple[list[Row], list[RowError]]:
    """The rows with parents before children, and what is wrong with the tree they make with the known nodes."""
    errors: list[RowError] = []
    by_code: dict[str, Row] = {}
    for row in rows:
        if row.code in by_code:
            errors.append(
                _error(
                    row,
                    "code_twice",
                    f"Line {by_code[row.code].line} has this code.",
                    f"第 {by_code[row.code].line} 行已有此代码。",
                )
            )
        else:
            by_code[row.code] = row
    roots = [row for row in by_code.values() if row.parent_code is None]
    for row in roots[1:]:
        errors.append(
            _error(
                row,
                "two_roots",
                f"Line {roots[0].line} is the city: a file has one.",
                f"第 {roots[0].line} 行已是市级，一个文件只能有一个市。",
            )
        )
    for row in by_code.values():
        errors += _check_row(row, by_code, known)
    looped = _loops(by_code)
    for row in looped:
        errors.append(_error(row, "cycle", "Its parents lead back to itself.", "上级关系形成循环。"))
    cities = {city for row in by_code.values() if row not in looped and (city := _city_of(row, by_code, known))}
    if len(cities) > 1 and not roots[1:]:
        first = next(iter(by_code.values()))
        errors.append(
            _error(
                first,
                "two_cities",
                "The file has nodes of several cities: import them one by one.",
                "文件含多个市的节点，请分别导入。",
            )
        )
    ordered = sorted(by_code.values(), key=lambda row: TIERS.index(row.tier))
    return ordered, sorted(errors, key=lambda error: error.line)


def _text(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Problem(problems.CSV_INVALID, reason="it is UTF-16; save it as CSV UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = f"line {line} is not UTF-8, perhaps GBK; save it as CSV UTF-8"
        raise Problem(problems.CSV_INVALID, reason=reason) from error
    if "\x00" in text:
        raise Problem(problems.CSV_INVALID, reason=f"line {text.count(chr(10), 0, text.index(chr(0))) + 1} has a NUL")
    return text


def _check_header(header: list[str]) -> None:
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise Problem(problems.CSV_INVALID, reason=f"the first line lacks the column {missing[0]}")
    unknown = [name for name in header if name not in REQUIRED + OPTIONAL]
    if unknown:
        raise Problem(problems.CSV_INVALID, reason=f"the column {unknown[0][:32]!r} is unknown")
    if len(set(header)) != len(header):
        raise Problem(problems.CSV_INVALID, reason="a column stands twice")


def _row(line: int, fields: dict[str, str]) -> tuple[Row | None, list[RowError]]:
    code, name, tier = fields["code"], tidy(fields["name"]), fields["tier"]
    errors: list[RowError] = []

    def refuse(kind: str, message: str, message_zh: str) -> None:
        errors.append(RowError(line, code[:32], kind, message, message_zh))

    if not CODE.fullmatch(code):
        refuse("code", "A code has 1 to 32 of 0-9 A-Z a-z _ . -", "代码应为 1 至 32 位数字、字母或 _ . -")
    if not 1 <= len(name) <= NAME_LENGTH or check(name, multiline=False) is not None:
        refuse(
            "name", f"A name has 1 to {NAME_LENGTH} visible characters.", f"名称应为 1 至 {NAME_LENGTH} 个可见字符。"
        )
    if tier not in TIERS:
        refuse("tier", "The tier is city, town or village.", "tier 应为 city、town 或 village。")
    try:
        lat, lon = _degrees(fields.get("lat", ""), 90), _degrees(fields.get("lon", ""), 180)
        if (lat is None) != (lon is None):
            raise ValueError
    except ValueError:
        refuse("location", "lat is -90 to 90 and lon -180 to 180, both or neither.", "经纬度超出范围或不成对。")
        lat = lon = None
    population = fields.get("population", "")
    if population and not re.fullmatch(r"[0-9]{1,10}", population):
        refuse("population", "The population is a whole number.", "人口应为非负整数。")
        population = ""
    if errors:
        return None, errors
    parent = fields["parent_code"] or None
    return Row(line, code, name, tier, parent, lat, lon, int(population) if population else None), []


def _degrees(text: str, most: float) -> float | None:
    """The number, None for an empty field; ValueError for anything else."""
    if not text:
        return None
    value = float(text)
    if not math.isfinite(value) or abs(value) > most:
        raise ValueError
    return value


def _check_row(row: Row, by_code: Mapping[str, Row], known: Mapping[str, Known]) -> list[RowError]:
    was = known.get(row.code)
    if was is not None and was.tier != row.tier:
        return [_error(row, "tier_changed", f"This node is a {was.tier}.", f"该节点现为 {was.tier}。")]
    if was is not None and not was.is_open:
        return [_error(row, "closed", "This node is closed.", "该节点已撤销。")]
    if row.tier == "city":
        if row.parent_code is not None:
            return [_error(row, "parent", "A city has no parent.", "市级没有上级。")]
        return []
    if row.parent_code is None:
        return [_error(row, "parent", f"A {row.tier} needs a parent.", "缺少上级代码。")]
    parent = by_code.get(row.parent_code)
    stored = known.get(row.parent_code)
    if parent is None and (stored is None or not stored.is_open):
        return [
            _error(row, "parent_missing", f"There is no node {row.parent_code}.", f"没有上级节点 {row.parent_code}。")
        ]
    tier = parent.tier if parent is not None else stored.tier if stored is not None else ""
    wanted = TIERS[TIERS.index(row.tier) - 1]
    if tier != wanted and row.code != row.parent_code:
        return [_error(row, "parent_tier", f"A {row.tier} stands under a {wanted}.", f"{row.tier} 应隶属于 {wanted}。")]
    city = _city_of(row, by_code, known)
    if was is not None and city is not None and city != was.city_id:
        return [_error(row, "city_changed", "A node cannot change its city.", "节点不能改变所属的市。")]
    return []


def _loops(by_code: Mapping[str, Row]) -> list[Row]:
    """The rows on or below a circle of parents."""
    sound: set[str] = set()
    looped: list[Row] = []
    for row in by_code.values():
        walked: list[str] = []
        at: Row | None = row
        while at is not None and at.code not in sound and at.code not in walked:
            walked.append(at.code)
            at = by_code.get(at.parent_code) if at.parent_code else None
        if at is not None and at.code in walked:
            looped.append(row)
        else:
            sound.update(walked)
    return looped


def _city_of(row: Row, by_code: Mapping[str, Row], known: Mapping[str, Known]) -> str | None:
    at: Row | None = row
    for _ in TIERS:
        assert at is not None
        if at.tier == "city":
            return at.code
        if at.parent_code is None:
            return None
        if at.parent_code not in by_code:
            stored = known.get(at.parent_code)
            return stored.city_id if stored else None
        at = by_code[at.parent_code]
    return None


def _error(row: Row, code: str, message: str, message_zh: str) -> RowError:
    return RowError(row.line, row.code, code, message, message_zh)
