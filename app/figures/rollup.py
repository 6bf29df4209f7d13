"""Figures rolled up the tree: cumulative, so a later report replaces an earlier one and nothing is counted twice.

Of each office and figure the latest value counts, by (observed, submitted, id); a later report that leaves a figure
out does not erase it, and zero is a value. Going up, an office above the villages has

1. its own *verified* figure: the latest final report it filed itself. It holds, whatever comes from below, until a
   later final of that office;
2. else the sum of its children's, when any of them has that figure (what it said itself is shown beside it);
3. else its own latest.

A village has its own latest. An office that was merged into another speaks for what it was: its value and the
successor's add, for they were two places when they spoke. Once the successor has spoken of the figure as it stood
when the merge held, its value is of the whole and replaces the predecessor's. Villages that came with a merged
town still count to that town's part, until they move on: so a merge by itself changes no sum above it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from app.hazards.figures import FIGURES

Number = int | float
Source = Literal["verified", "sum", "own"]
Key = tuple[datetime, datetime, UUID]

# What is left of a hectare is a square metre, of a yuan a fen; persons and houses are whole.
_PLACES = {"ha": Decimal("0.0001"), "CNY": Decimal("0.01")}
_WHOLE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Statement:
    """What one version of one report says."""

    report_id: UUID
    version: int
    node_code: str
    kind: str
    observed_at: datetime
    submitted_at: datetime
    figures: Mapping[str, Number]

    @property
    def key(self) -> Key:
        """What is later stands higher."""
        return (self.observed_at, self.submitted_at, self.report_id)


@dataclass(frozen=True, slots=True)
class Merge:
    """An office became part of another on a day; what that one observed from `at` on is of the whole."""

    into: str
    on: date
    at: datetime


@dataclass(frozen=True, slots=True)
class Tree:
    """The borders to roll up under.

    `parents` and `tiers` know every office that stands or has spoken; `merges` those that are part of another, by the
    merge that ended them; `came_with` the merged town that a village came with, while it has not moved on.
    """

    parents: Mapping[str, str | None]
    tiers: Mapping[str, str]
    merges: Mapping[str, Merge] = field(default_factory=dict)
    came_with: Mapping[str, str] = field(default_factory=dict)

    def above(self, code: str) -> str | None:
        """The office that this one's figures go to."""
        if code in self.merges:
            return self.merges[code].into
        return self.came_with.get(code, self.parents.get(code))


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one office: its value, where that comes from, and what stands beside it."""

    amount: Decimal
    source: Source
    reports: tuple[UUID, ...] = ()
    own: Decimal | None = None
    children_sum: Decimal | None = None
    children_changed_since: bool = False
    merged: tuple[str, ...] = ()
    # The latest word on this figure in the whole subtree, and what its children say, used or not.
    latest: Key | None = None
    below: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """One figure of one office over several incidents, which are different events: they add."""

    amount: Decimal
    source: Source
    incidents: int
    verified: int
    changed: int


Cells = dict[str, dict[str, Cell]]


def exact(figure: str, value: Number) -> Decimal:
    """The value as exact decimal, to the figure's smallest part: sums of it do not depend on how they are grouped."""
    return Decimal(str(value)).quantize(_PLACES.get(_unit(figure), _WHOLE))


def number(figure: str, amount: Decimal) -> Number:
    """The amount as JSON shows it: whole for persons and houses."""
    return float(amount) if _unit(figure) in _PLACES else int(amount)


def _unit(figure: str) -> str:
    return FIGURES[figure].unit


def roll_up(statements: Iterable[Statement], tree: Tree) -> Cells:
    """One incident's figures by office and figure. Offices without a figure, and figures nobody gave, are absent.

    Repeated statements count once, of two versions of a report the higher; their order does not matter. Offices that
    are part of another do not stand by themselves: their figures are in the other's.
    """
    spoken = _latest(statements)
    above = {code: tree.above(code) for code in spoken}
    todo = list(above.values())
    while todo:
        code = todo.pop()
        if code is not None and code not in above:
            above[code] = tree.above(code)
            todo.append(above[code])
    parts: dict[str, list[str]] = defaultdict(list)
    for code in sorted(above):
        parent = above[code]
        if parent is not None:
            parts[parent].append(code)
    cells: Cells = {}
    for code in _children_first(above, parts):
        cells[code] = _office(code, spoken.get(code, {}), parts[code], cells, tree)
    return {code: found for code, found in cells.items() if found and code not in tree.merges}


def add_up(incidents: Sequence[Cells]) -> dict[str, dict[str, Total]]:
    """Several incidents' figures together: different events add."""
    found: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cells in incidents:
        for code, figures in cells.items():
            for figure, cell in figures.items():
                found[code][figure].append(cell)
    return {
        code: {figure: _total(cells) for figure, cells in figures.items()} for code, figures in sorted(found.items())
    }


def _total(cells: Sequence[Cell]) -> Total:
    sources = {cell.source for cell in cells}
    return Total(
        sum((cell.amount for cell in cells), Decimal(0)),
        sources.pop() if len(sources) == 1 else "sum",
        len(cells),
        sum(cell.source == "verified" for cell in cells),
        sum(cell.children_changed_since for cell in cells),
    )


@dataclass(slots=True)
class _Said:
    """Of one office and figure: its latest statement, and its latest final."""

    latest: Statement
    final: Statement | None = None


def _latest(statements: Iterable[Statement]) -> dict[str, dict[str, _Said]]:
    versions: dict[UUID, Statement] = {}
    for one in statements:
        held = versions.get(one.report_id)
        if held is None or one.version > held.version:
            versions[one.report_id] = one
    spoken: dict[str, dict[str, _Said]] = defaultdict(dict)
    for one in versions.values():
        said = spoken[one.node_code]
        for figure in one.figures:
            found = said.setdefault(figure, _Said(one))
            if one.key > found.latest.key:
                found.latest = one
            if one.kind == "final" and (found.final is None or one.key > found.final.key):
                found.final = one
    return spoken


def _children_first(above: Mapping[str, str | None], parts: Mapping[str, list[str]]) -> list[str]:
    order = [code for code in above if above[code] is None]
    for code in order:
        # The list grows while it is walked: parents stand before their children.
        order.extend(parts.get(code, ()))
    return order[::-1]


def _office(code: str, said: Mapping[str, _Said], parts: Sequence[str], cells: Cells, tree: Tree) -> dict[str, Cell]:
    figures = {figure for part in parts for figure in cells[part]} | said.keys()
    found = {}
    for figure in sorted(figures):
        children, merged = [], []
        for part in parts:
            cell = cells[part].get(figure)
            if cell is None:
                continue
            if part in tree.merges:
                merged.append((part, tree.merges[part].at, cell))
            else:
                children.append(cell)
        found[figure] = _cell(figure, said.get(figure), children, merged, village=tree.tiers[code] == "village")
    return found


def _cell(
    figure: str,
    said: _Said | None,
    children: Sequence[Cell],
    merged: Sequence[tuple[str, datetime, Cell]],
    *,
    village: bool,
) -> Cell:
    own = said.latest if said else None
    final = said.final if said and not village else None
    speaks = final or own
    covered = [cell for _, at, cell in merged if speaks is not None and speaks.observed_at >= at]
    apart = [(code, cell) for code, at, cell in merged if speaks is None or speaks.observed_at < at]
    below = [cell.amount for cell in children] + [cell.below for cell in covered if cell.below is not None]
    children_sum = sum(below, Decimal(0)) if below else None
    under = [*below, *(cell.below for _, cell in apart if cell.below is not None)]
    latest = _last(own.key if own else None, *(cell.latest for cell in (*children, *(cell for _, _, cell in merged))))
    beside = exact(figure, own.figures[figure]) if own else None

    if speaks is None or (final is None and below):
        parts = [*children, *(cell for _, _, cell in merged)]
        single = parts[0].source if len(parts) == 1 and not children else "sum"
        return Cell(
            sum((cell.amount for cell in parts), Decimal(0)),
            single,
            tuple(sorted({one for _, _, cell in merged for one in cell.reports})),
            own=beside,
            merged=tuple(code for code, _, _ in merged),
            latest=latest,
            below=sum(under, Decimal(0)) if under else None,
        )
    heard = _last(*(cell.latest for cell in (*children, *covered)))
    return Cell(
        exact(figure, speaks.figures[figure]) + sum((cell.amount for _, cell in apart), Decimal(0)),
        _source(speaks.kind == "final", [cell.source for _, cell in apart]),
        tuple(sorted({speaks.report_id, *(one for _, cell in apart for one in cell.reports)})),
        own=beside if own is not speaks else None,
        children_sum=children_sum,
        children_changed_since=final is not None and heard is not None and heard > final.key,
        merged=tuple(code for code, _ in apart),
        latest=latest,
        below=sum(under, Decimal(0)) if under else None,
    )


def _source(verified: bool, apart: Sequence[Source]) -> Source:
    if verified and all(source == "verified" for source in apart):
        return "verified"
    return "sum" if apart else "own"


def _last(*keys: Key | None) -> Key | None:
    return max((key for key in keys if key is not None), default=None)
