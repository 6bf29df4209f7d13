from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select

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
            return and_(in_city, node_code == caller.node)
        case _:
            subtree = select(Node.code).where(or_(Node.code == caller.node, Node.parent_code == caller.node))
            return and_(in_city, node_code.in_(subtree))
