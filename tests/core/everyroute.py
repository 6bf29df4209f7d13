"""All routes of the application, for the rules that hold on every one of them, those to come included."""

import re
from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

AN_ID = "01655482-2580-7000-8000-52b8a1d0c3e4"
OPEN_TO_ALL = frozenset({"/v1/auth/token", "/v1/auth/refresh", "/v1/auth/revoke", "/v1/auth/enrol"})


@dataclass(frozen=True)
class Way:
    """One method of one route; `path` has an id that nothing has."""

    method: str
    template: str

    @property
    def path(self) -> str:
        return re.sub("{[^}]+}", AN_ID, self.template)


def ways(app: FastAPI, prefix: str = "/") -> list[Way]:
    """Every method of every route under a prefix."""
    found = {
        Way(method, context.path)
        for context in iter_route_contexts(app.routes)
        if context.path and context.path.startswith(prefix)
        for method in context.methods or ()
    }
    return sorted(found, key=lambda way: (way.template, way.method))
