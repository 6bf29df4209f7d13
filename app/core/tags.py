"""What an answer tells of the resource it shows: the version that `If-Match` names, and where a new one is."""

import re
from typing import Annotated, Protocol, TypeVar

from fastapi import Depends, Header, Response

from app.core import problems
from app.core.errors import Problem


class Versioned(Protocol):
    """What has a version that each change raises."""

    version: int


Shown = TypeVar("Shown", bound=Versioned)


def etag(version: int) -> str:
    """The strong ETag of a version. Pure."""
    return f'"{version}"'


def if_match(header: str | None) -> int | None:
    """The version that an If-Match names; None: any. A Problem (400) for what no ETag here looks like."""
    if header is None or header.strip() == "*":
        return None
    found = re.fullmatch(r'\s*"(\d{1,9})"\s*', header, re.ASCII)
    if found is None:
        raise Problem(problems.IF_MATCH_INVALID)
    return int(found[1])


def must_be_at(current: int, version: int | None) -> None:
    """A Problem (412) when what is acted on is not at the version that the caller has seen; None: any will do."""
    if version is not None and version != current:
        raise Problem(problems.PRECONDITION_FAILED, version=current)


async def _asked_version(
    header: Annotated[
        str | None,
        Header(alias="If-Match", max_length=64, description='Act only on the version that was seen, as its ETag: "3".'),
    ] = None,
) -> int | None:
    return if_match(header)


IfMatch = Annotated[int | None, Depends(_asked_version)]
"""The version that the act is meant for; None: whichever it finds."""


def tagged(response: Response, shown: Shown) -> Shown:
    """`shown`, whose version goes out as the ETag that a later call may send as If-Match."""
    response.headers["ETag"] = etag(shown.version)
    return shown


def located(response: Response, path: str) -> None:
    """Say where what was created is: a path, since only a proxy knows the host that clients see."""
    response.headers["Location"] = path
