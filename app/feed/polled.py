from functools import cache

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from app.core.caller import Caller, current_caller
from app.feed import cursors
from app.feed.cursors import Position
from app.feed.heads import heads_of

CACHE = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


def etag_of(request: Request, caller: Caller, position: Position) -> str:
    """The ETag of this very question at this moment of the log: who asks, where, and the query as it was sent."""
    scope = request.scope
    # A person is told more than a machine.
    is_person = caller.account_id is not None
    return cursors.etag(position, caller.node, _named(caller.scopes), is_person, scope["path"], scope["query_string"])


@cache
def _named(scopes: frozenset[str]) -> str:
    return " ".join(sorted(scopes))


class PolledRoute(APIRoute):
    """A list whose ETag is `etag_of`: a poll that finds nothing new is answered before anything is parsed.

    The ETag proves that the same sign-in's scopes asked the same question and was answered: only a question that
    had passed every check can match.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 304 where nothing happened since the caller's ETag; otherwise go the usual way."""
        if scope["method"] == "GET" and any(name == b"if-none-match" for name, _ in scope["headers"]):
            request = Request(scope, receive)
            # A proxy that compresses weakens the tag.
            given = request.headers["if-none-match"].removeprefix("W/")
            caller = await current_caller(request)
            latest = heads_of(request).latest(caller.city_id)
            if latest is not None and given == etag_of(request, caller, latest):
                scope["route"] = self
                await Response(status_code=304, headers={**CACHE, "ETag": given})(scope, receive, send)
                return
        await super().handle(scope, receive, send)
