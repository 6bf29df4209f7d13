from dataclasses import dataclass
from typing import get_args, get_origin

from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute

from app.core import problems
from app.core.errors import Problem


@dataclass(frozen=True, slots=True)
class _Parameters:
    names: frozenset[str]
    several: frozenset[str]


_known: dict[int, tuple[APIRoute, _Parameters]] = {}


def _parameters(route: APIRoute) -> _Parameters:
    found = _known.get(id(route))
    if found is None or found[0] is not route:
        params = [param for param in get_flat_params(route.dependant) if isinstance(param.field_info, Query)]
        several = frozenset(param.alias for param in params if takes_several(param.field_info.annotation))
        found = (route, _Parameters(frozenset(param.alias for param in params), several))
        _known[id(route)] = found
    return found[1]


def takes_several(annotation: object) -> bool:
    """Whether a parameter of this type may be given several times: any of its values. Pure."""
    return get_origin(annotation) is list or any(get_origin(part) is list for part in get_args(annotation))


async def only_known_query(request: Request) -> None:
    """Refuse query parameters that the route does not know, or takes once (400): a typo must not change an answer."""
    if not request.scope["query_string"]:
        return
    known = _parameters(request.scope["route"])
    given = [name for name, _ in request.query_params.multi_items()]
    names = set(given)
    if not names <= known.names:
        unknown = ", ".join(sorted(names - known.names))[:200]
        raise Problem(problems.QUERY_UNKNOWN, names=unknown, known=", ".join(sorted(known.names)) or "none")
    if len(given) > len(names):
        repeated = sorted(name for name in names - known.several if given.count(name) > 1)
        if repeated:
            raise Problem(problems.QUERY_REPEATED, names=", ".join(repeated))
