from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Select, and_, or_, select, union_all
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
            return and_(in_city, node_code.in_(_parts(caller.node)))
        case _:
            return and_(in_city, node_code.in_(subtree(caller.node)))


def subtree(town: str) -> CompoundSelect[str]:
    """The codes of a town (or a village), of its villages, and of all that is part of any of them."""
    return union_all(_parts(town), *_below(town))


def _parts(code: str) -> Select[str]:
    # What was merged into a node is part of it.
    return select(Node.code).where(or_(Node.code == code, Node.merged_into == code))


def _below(town: str) -> tuple[Select[str], ...]:
    """A town's villages, and all that is part of them or was under what is part of it: one look at an index each."""
    part = aliased(Node)
    return (
        select(Node.code).where(Node.parent_code == town),
        select(Node.code).join(part, part.code == Node.merged_into).where(part.parent_code == town),
        select(Node.code).join(part, part.code == Node.parent_code).where(part.merged_into == town),
    )
