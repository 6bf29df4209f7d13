"""Real or exercise: a query sees one of them, never both."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from sqlalchemy import ColumnElement

DrillId = Annotated[
    UUID | None, Query(alias="drill", description="Only what belongs to this drill; without it, only what is real.")
]


def of_drill(table: Any, drill_id: UUID | None) -> ColumnElement[bool]:
    """The condition that keeps a query to the real (None) or to one drill."""
    found: ColumnElement[bool] = table.drill_id.is_(None) if drill_id is None else table.drill_id == drill_id
    return found
