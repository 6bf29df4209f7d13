from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, and_, or_, select, union_all
from sqlalchemy.orm import aliased

from app.core.caller import Caller
from app.nodes.models import Node


def visible(caller: Caller, table: Any, column: Any = None) -> ColumnElement[bool]:
    """The one door: the condition that keeps a query inside the caller's subtree.

    `table` has `city_id` and `node_code`; `column` names another column that holds the node's code.
    """
    node_code = table.node_code if column is None else column
    in_city: ColumnElement[bool] = table.city_id == caller.city_id
    match caller.tier:
        case "city":
            return in_city
        case "village":
            # What was merged into a node is part of it.
            merged = select(Node.code).where(Node.merged_into == caller.node)
            return and_(in_city, or_(node_code == caller.node, node_code.in_(merged)))
        case _:
            return and_(in_city, node_code.in_(_subtree(caller.node)))


def _subtree(town: str) -> CompoundSelect[tuple[str]]:
    """A town, its villages, and all that is part of either. One look at an index for each."""
    part = aliased(Node)
    under = select(Node.code).where(Node.parent_code == town)
    into_village = select(Node.code).join(part, part.code == Node.merged_into).where(part.parent_code == town)
    under_part = select(Node.code).join(part, part.code == Node.parent_code).where(part.merged_into == town)
    return union_all(
        select(Node.code).where(or_(Node.code == town, Node.merged_into == town)), under, into_village, under_part
    )
