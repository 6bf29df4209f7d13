"""Whether the rows of a file make a sound tree with the nodes that are there. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from app.nodes.csvfile import Row, RowError
from app.nodes.models import TIERS


@dataclass(frozen=True, slots=True)
class Known:
    """A node that the database has: what a file may refer to."""

    tier: str
    city_id: str
    parent_code: str | None
    opened_on: date
    closed_on: date | None


def check_tree(
    rows: list[Row], known: Mapping[str, Known], *, on: date, today: date, refused: Collection[str] = ()
) -> tuple[list[Row], list[RowError]]:
    """The rows with parents before children, and what is wrong with the tree they would make from the day `on`.

    Codes in `refused` stand in the file, but their own lines are wrong: nothing more is said of their children.
    """
    errors: list[RowError] = []
    by_code: dict[str, Row] = {}
    for row in rows:
        first = by_code.setdefault(row.code, row)
        if first is not row:
            errors.append(
                _error(row, "code_twice", f"Line {first.line} has this code.", f"第 {first.line} 行已有此代码。")
            )
    roots = [row for row in by_code.values() if row.tier == "city"]
    for row in roots[1:]:
        errors.append(
            _error(
                row,
                "two_roots",
                f"Line {roots[0].line} is the city: a file has one.",
                f"第 {roots[0].line} 行已是市级，一个文件只能有一个市。",
            )
        )
    looped = _loops(by_code)
    the_city: str | None = None
    for row in by_code.values():
        if row.code in looped:
            errors.append(_error(row, "cycle", "Its parents lead back to itself.", "上级关系形成循环。"))
            continue
        if row.parent_code in refused and row.parent_code not in by_code:
            continue
        error = _check_row(row, by_code, known, on=on, today=today)
        if error is not None:
            errors.append(error)
            continue
        city = _city_of(row, by_code, known)
        the_city = the_city or city
        if city not in (None, the_city) and not roots[1:]:
            errors.append(
                _error(row, "two_cities", "The lines before are of another city.", "与前面各行不属于同一个市。")
            )
    ordered = sorted(by_code.values(), key=lambda row: TIERS.index(row.tier))
    return ordered, errors


def _check_row(
    row: Row, by_code: Mapping[str, Row], known: Mapping[str, Known], *, on: date, today: date
) -> RowError | None:
    was = known.get(row.code)
    if was is not None and was.tier != row.tier:
        return _error(row, "tier_changed", f"This node is a {was.tier}.", f"该节点现为 {was.tier}。")
    if was is not None and was.closed_on is not None and was.closed_on <= today:
        return _error(row, "closed", "This node is closed.", "该节点已撤销。")
    if row.tier == "city":
        return _error(row, "parent", "A city has no parent.", "市级没有上级。") if row.parent_code else None
    if row.parent_code is None:
        return _error(row, "parent", f"A {row.tier} needs a parent.", "缺少上级代码。")
    parent, stored = by_code.get(row.parent_code), known.get(row.parent_code)
    if parent is None and stored is None:
        return _error(
            row, "parent_missing", f"There is no node {row.parent_code}.", f"没有上级节点 {row.parent_code}。"
        )
    wanted = TIERS[TIERS.index(row.tier) - 1]
    if wanted not in (parent and parent.tier, stored and stored.tier):
        return _error(row, "parent_tier", f"A {row.tier} stands under a {wanted}.", f"{row.tier} 应隶属于 {wanted}。")
    if stored is not None and (was is None or was.parent_code != row.parent_code):
        if stored.closed_on is not None:
            return _error(row, "parent_closed", "Its parent is closed or will be.", "上级节点已撤销或将撤销。")
        if stored.opened_on > on:
            return _error(row, "date", f"Its parent did not exist on {on}.", f"上级节点在 {on} 尚不存在。")
    city = _city_of(row, by_code, known)
    if was is not None and city is not None and city != was.city_id:
        return _error(row, "city_changed", "A node cannot change its city.", "节点不能改变所属的市。")
    return None


def _loops(by_code: Mapping[str, Row]) -> set[str]:
    """The codes on or below a circle of parents. Each row is walked over once, however long the chains."""
    sound: set[str] = set()
    looped: set[str] = set()
    for row in by_code.values():
        walked: set[str] = set()
        at: Row | None = row
        while at is not None and not any(at.code in seen for seen in (walked, sound, looped)):
            walked.add(at.code)
            at = by_code.get(at.parent_code) if at.parent_code else None
        (sound if at is None or at.code in sound else looped).update(walked)
    return looped


def _city_of(row: Row, by_code: Mapping[str, Row], known: Mapping[str, Known]) -> str | None:
    at = row
    for _ in TIERS:
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
