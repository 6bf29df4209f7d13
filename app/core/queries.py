from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from app.core import problems
from app.core.errors import Problem

_known: dict[int, tuple[APIRoute, frozenset[str]]] = {}


def _names(route: APIRoute) -> frozenset[str]:
    found = _known.get(id(route))
    if found is None or found[0] is not route:
        params = get_flat_params(route.dependant)
        found = (route, frozenset(param.alias for param in params if isinstance(param.field_info, Query)))
        _known[id(route)] = found
    return found[1]


async def no_unknown_query(request: Request) -> None:
    """Refuse query parameters that the route does not know (400): a typo must not widen an answer."""
    if not request.scope["query_string"]:
        return
    route = request.scope["route"]
    known = _names(route)
    unknown = sorted(set(request.query_params) - known)
    if unknown:
        raise Problem(problems.QUERY_UNKNOWN, names=", ".join(unknown)[:200], known=", ".join(sorted(known)) or "none")
