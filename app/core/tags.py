"""What an answer tells of the resource it shows: the version that `If-Match` names, and where a new one is."""

from typing import Protocol, TypeVar

from fastapi import Response


class Versioned(Protocol):
    """What has a version that each change raises."""

    version: int


Shown = TypeVar("Shown", bound=Versioned)


def etag(version: int) -> str:
    """The strong ETag of a version. Pure."""
    return f'"{version}"'


def tagged(response: Response, shown: Shown) -> Shown:
    """`shown`, whose version goes out as the ETag that a later call may send as If-Match."""
    response.headers["ETag"] = etag(shown.version)
    return shown


def located(response: Response, path: str) -> None:
    """Say where what was created is: a path, since only a proxy knows the host that clients see."""
    response.headers["Location"] = path
