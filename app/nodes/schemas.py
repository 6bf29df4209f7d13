import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.nodes.importing import Plan
from app.nodes.merging import Plan as Planned
from app.nodes.models import CODE_PATTERN, MOST_PEOPLE, NAME_LENGTH

Code = Annotated[str, Field(pattern=CODE_PATTERN)]
Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH)]
Lat = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False, strict=True)]
Lon = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False, strict=True)]
Population = Annotated[int, Field(ge=0, le=MOST_PEOPLE, strict=True)]
Tier = Literal["city", "town", "village"]

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _written_out(value: object) -> object:
    # pydantic also takes numbers, and numbers in quotes, as unix times: a node would close on a day nobody named.
    if isinstance(value, str) and _DAY.fullmatch(value):
        return value
    raise ValueError("not a day as yyyy-mm-dd")


Day = Annotated[date, BeforeValidator(_written_out, json_schema_input_type=date)]
"""A calendar day where the offices are, written yyyy-mm-dd."""


class NodeView(BaseModel):
    """One office in the tree."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "code": "370783108201",
                "name": "示例村",
                "tier": "village",
                "parent": "370783108000",
                "opened_on": "2018-01-01",
                "closed_on": None,
                "merged_into": None,
                "lat": 36.9,
                "lon": 118.9,
                "population": 820,
                "version": 1,
            }
        }
    )

    code: str
    name: str
    tier: Tier
    parent: str | None
    opened_on: date
    closed_on: date | None = Field(description="the first day it no longer exists")
    merged_into: str | None = Field(description="the open node that it is part of since")
    lat: float | None
    lon: float | None
    population: int | None
    version: int


class Tree(NodeView):
    """A node with all under it."""

    children: list["Tree"]


class Span(BaseModel):
    """What a node was called and whose child it was, from a day until a day."""

    since: date
    until: date | None = Field(description="the first day it no longer held")
    name: str
    parent: str | None


class History(BaseModel):
    """A node's spans, the first one first."""

    items: list[Span]


class NodeNew(BaseModel):
    """A town or village to be opened."""

    model_config = ConfigDict(extra="forbid")

    code: Code
    name: Name
    tier: Literal["town", "village"]
    parent: Code
    lat: Lat | None = None
    lon: Lon | None = None
    population: Population | None = None
    effective_on: Day | None = Field(None, description="its first day; today by default")

    @model_validator(mode="after")
    def _has_both_or_neither(self) -> "NodeNew":
        if (self.lat is None) != (self.lon is None):
            raise ValueError("lat and lon go together")
        return self


class NodePatch(BaseModel):
    """What changes of a node; what is left out stays.

    `null` takes a place or a population away, or withdraws a closing that lies ahead.
    """

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"parent": "370783001000", "effective_on": "2018-08-01"}}
    )

    name: Name | None = None
    parent: Code | None = None
    closed_on: Day | None = Field(
        None, description="the first day it no longer exists; while that lies ahead another one, or null: it stays"
    )
    lat: Lat | None = None
    lon: Lon | None = None
    population: Population | None = None
    effective_on: Day | None = Field(None, description="from when a new name or parent holds; today by default")

    @model_validator(mode="after")
    def _says_what_changes(self) -> "NodePatch":
        if any(getattr(self, name) is None for name in self.model_fields_set & {"name", "parent"}):
            raise ValueError("name and parent cannot be taken away")
        if self.model_fields_set & {"lat", "lon"} and (
            not {"lat", "lon"} <= self.model_fields_set or (self.lat is None) != (self.lon is None)
        ):
            raise ValueError("lat and lon go together")
        return self


class ReopenIn(BaseModel):
    """Why a closed node stands again."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "【演练】误撤销"}})

    reason: str = Field(min_length=1, max_length=500)
    effective_on: Day | None = Field(
        None, description="from when; without it from the day it was closed, as if it had not been"
    )


class RecordedChange(BaseModel):
    """A change of the tree, as it was recorded."""

    node: str
    name: str
    kind: str = Field(description="created, renamed, moved, closed, withdrawn, merged or reopened")
    on: date = Field(description="the day from which it holds")
    recorded_at: datetime
    old_parent: str | None
    reason: str | None
    ahead: bool = Field(description="its day has not come: it may still be corrected or withdrawn")


class MergeIn(BaseModel):
    """What a node becomes part of."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"into": "370783108202", "dry_run": True}})

    into: Code
    effective_on: Day | None = Field(None, description="from when; today by default")
    dry_run: bool = Field(False, description="tell what would happen, and change nothing")


class PartIn(BaseModel):
    """One node that parts: what was merged into the other, or a new one with its name."""

    model_config = ConfigDict(extra="forbid")

    code: Code
    name: Name | None = Field(None, description="of a new node")
    children: list[Code] = Field(
        default_factory=list, max_length=2000, description="of a town: the villages that go with it"
    )


class SplitIn(BaseModel):
    """What parts from a node."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"parts": [{"code": "370783108201"}], "dry_run": True}}
    )

    parts: list[PartIn] = Field(min_length=1, max_length=50)
    effective_on: Day | None = Field(None, description="from when; today by default")
    dry_run: bool = Field(False, description="tell what would happen, and change nothing")

    @model_validator(mode="after")
    def _names_each_once(self) -> "SplitIn":
        codes = [part.code for part in self.parts] + [child for part in self.parts for child in part.children]
        if len(set(codes)) != len(codes):
            raise ValueError("each code may stand once")
        return self


class NodeChangeView(BaseModel):
    """One node that changes."""

    node: str
    name: str
    what: Literal["merged", "moved", "reopened", "created"]
    old: str | None = Field(description="what it stood under; of one that is reopened or created, what it parts from")
    new: str = Field(description="what it stands under since; of one that is merged, what it is part of")


class TreeChanges(BaseModel):
    """What a merge or a split did, or would do."""

    applied: bool
    effective_on: date
    changes: list[NodeChangeView]


def tree_changes(made: Planned, *, applied: bool) -> TreeChanges:
    """A plan of a merge or split as the wire shows it."""
    return TreeChanges(
        applied=applied,
        effective_on=made.on,
        changes=[
            NodeChangeView(node=one.node["code"], name=one.node["name"], what=one.what, old=one.old, new=one.new)
            for one in made.changes
        ],
    )


class RowResultView(BaseModel):
    """What becomes of one line of the file."""

    line: int
    node: str
    status: Literal["created", "updated", "unchanged"]


class RowErrorView(BaseModel):
    """What is wrong with one line of the file."""

    line: int
    node: str
    code: str
    message: str
    message_zh: str


class ImportResult(BaseModel):
    """What an import did, or would do."""

    valid: bool
    stored: bool
    rows: list[RowResultView]
    errors: list[RowErrorView]


def node_view(row: Mapping[str, Any]) -> NodeView:
    """A row of `nodes` as the wire shows it."""
    return NodeView.model_construct(**_fields(row))


def recorded_change(row: Mapping[str, Any]) -> RecordedChange:
    """A row of `node_changes` as the wire shows it."""
    return RecordedChange(
        node=row["code"],
        name=row["name"],
        kind=row["kind"],
        on=row["on"],
        recorded_at=row["at"],
        old_parent=row["old_parent"],
        reason=row["reason"],
        ahead=bool(row["ahead"]),
    )


def tree_view(rows: Sequence[Mapping[str, Any]]) -> Tree:
    """The rows of a subtree, the top first, as the wire shows them."""
    made = {row["code"]: Tree.model_construct(**_fields(row), children=[]) for row in rows}
    for row in rows[1:]:
        made[row["parent_code"]].children.append(made[row["code"]])
    return made[rows[0]["code"]]


def import_result(made: Plan, *, stored: bool) -> ImportResult:
    """A plan as the wire shows it."""
    return ImportResult(
        valid=not made.errors,
        stored=stored,
        rows=[RowResultView(**asdict(result)) for result in made.results],
        errors=[RowErrorView(**asdict(error)) for error in made.errors],
    )


def _fields(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": row["code"],
        "name": row["name"],
        "tier": row["tier"],
        "parent": row["parent_code"],
        "opened_on": row["opened_on"],
        "closed_on": row["closed_on"],
        "merged_into": row.get("merged_into"),
        "lat": row["lat"],
        "lon": row["lon"],
        "population": row["population"],
        "version": row["version"],
    }
