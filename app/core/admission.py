"""What a request is refused for before a byte of its body is read: its sign-in, its scope, its size, its type."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.params import Form
from fastapi.routing import APIRoute

from app.core import problems
from app.core.caller import SIGN_INS, SignIn
from app.core.errors import Problem

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Admission:
    """What a route asks of a request with a body: the sign-ins it depends on, and its types; none: any type."""

    sign_ins: tuple[SignIn, ...]
    types: tuple[str, ...]


_known: dict[int, tuple[APIRoute, Admission]] = {}


def admission_of(route: APIRoute) -> Admission:
    """What this route asks, from its signature."""
    found = _known.get(id(route))
    if found is None or found[0] is not route:
        sign_ins = tuple(SIGN_INS[call] for call in dict.fromkeys(_calls(route.dependant)) if call in SIGN_INS)
        found = (route, Admission(sign_ins, _types(route)))
        _known[id(route)] = found
    return found[1]


async def admit(request: Request, *, limit: int) -> None:
    """Check a request before its body is read; a Problem (401, 403, 413 or 415) refuses it."""
    route = request.scope.get("route")
    asked = admission_of(route) if isinstance(route, APIRoute) else Admission((), ())
    for sign_in in asked.sign_ins:
        await sign_in(request)
    headers = request.headers
    length = headers.get("content-length")
    if length is not None and is_over(length, limit):
        raise too_large(limit)
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise Problem(problems.BODY_COMPRESSED, headers={"Accept-Encoding": "identity"})
    _check_type(request, asked)


async def only_asked_form(request: Request) -> None:
    """Refuse another type where a form is asked for (415): the framework would read nothing and call it empty."""
    route = request.scope["route"]
    if isinstance(route, APIRoute) and (asked := admission_of(route)).types == (FORM,):
        _check_type(request, asked)


def _check_type(request: Request, asked: Admission) -> None:
    if asked.types and not is_type(request.headers.get("content-type", ""), asked.types):
        raise Problem(problems.MEDIA_TYPE, wanted=" or ".join(asked.types))


def is_type(given: str, types: tuple[str, ...]) -> bool:
    """Whether a Content-Type is one of these. Without one a body is read as JSON, or as the route's files are. Pure."""
    media = given.partition(";")[0].strip().lower()
    if not media:
        return FORM not in types
    return media in types or (JSON in types and media.startswith("application/") and media.endswith("+json"))


def is_over(length: str, limit: int) -> bool:
    """Whether a Content-Length is no number, or more than the limit. Pure."""
    return not (length.isascii() and length.isdigit()) or len(length) > 18 or int(length) > limit


def too_large(limit: int) -> Problem:
    """The Problem (413) that names the limit."""
    return Problem(problems.BODY_TOO_LARGE, limit=limit, extra={"limit": limit})


def _calls(dependant: Dependant) -> Iterator[Callable[..., object]]:
    for inner in dependant.dependencies:
        if inner.call is not None:
            yield inner.call
        yield from _calls(inner)


def _types(route: APIRoute) -> tuple[str, ...]:
    declared = (route.openapi_extra or {}).get("requestBody", {}).get("content")
    if declared:
        return tuple(declared)
    if route.body_field is None:
        return ()
    return (FORM,) if isinstance(route.body_field.field_info, Form) else (JSON,)
