"""Which methods an address takes: HEAD wherever GET."""

from collections.abc import Sequence

from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Match
from starlette.types import Scope

# Of a scope: what answers it goes out without its body.
IS_HEAD = "beacon.is_head"


def declared_at(routes: Sequence[BaseRoute], scope: Scope) -> set[str]:
    """The methods that the routes at the path of `scope` declare."""
    found: set[str] = set()
    for context in iter_route_contexts(routes):
        if context.methods and context.matches(scope)[0] != Match.NONE:
            found |= context.methods
    return found


def allowed_at(routes: Sequence[BaseRoute], scope: Scope) -> list[str]:
    """The methods that a request to the path of `scope` may use, in order of the alphabet."""
    found = declared_at(routes, scope)
    return sorted(found | {"HEAD"} if "GET" in found else found)


def as_get(scope: Scope) -> Scope:
    """A HEAD request as the GET that answers it; as it is where a route declares HEAD itself."""
    if "HEAD" in declared_at(scope["app"].routes, scope):
        return scope
    return {**scope, "method": "GET", IS_HEAD: True}
