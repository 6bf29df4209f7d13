"""What a sender says of a file and of the part of it that it sends now; and whether the parts make the whole. Pure."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from app.core import problems
from app.core.errors import Problem

NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
TYPES = frozenset(
    {
        "application/octet-stream",
        "image/jpeg",
        "image/png",
        "image/webp",
        "audio/wav",
        "audio/wave",
        "audio/x-wav",
        "audio/vnd.wave",
    }
)
# Else a file could come, and be kept, byte by byte.
MOST_PARTS = 1000

_DIGEST = re.compile(r"(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/]{43}=):[ \t]*(?=[,;]|$)")
_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")
_LENGTH = re.compile(r"\d{1,15}")


@dataclass(frozen=True, slots=True)
class Offer:
    """A file of `size` bytes for a slot of a report, and which of them come now: from `first` to before `end`."""

    report_id: UUID
    name: str
    sha256: str
    size: int
    first: int
    end: int

    @property
    def least(self) -> int:
        """The fewest bytes that a part may have, unless it is the last."""
        return least_of(self.size)


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers that tell of the file, as they came."""

    content_type: str | None
    content_length: str | None
    content_range: str | None
    repr_digest: str | None


def least_of(size: int) -> int:
    """The fewest bytes that a part of a file of `size` bytes may have, unless it is the last."""
    return max(1, size // MOST_PARTS)


def read(report_id: UUID, name: str, headers: Headers, *, most: int) -> Offer:
    """The offer that the headers make; a Problem says what is wrong with them."""
    if not NAME.fullmatch(name):
        raise Problem(problems.ATTACHMENT_NAME)
    if headers.content_type and headers.content_type.partition(";")[0].strip().lower() not in TYPES:
        raise Problem(problems.ATTACHMENT_TYPE)
    digest = _DIGEST.search(headers.repr_digest or "")
    if digest is None:
        raise Problem(problems.DIGEST_MISSING)
    first, end, size = _part(headers)
    if size > most:
        raise Problem(problems.BODY_TOO_LARGE, limit=most)
    if size == 0:
        raise Problem(problems.ATTACHMENT_TYPE)
    offer = Offer(report_id, name, base64.b64decode(digest[1]).hex(), size, first, end)
    if end < size and end - first < offer.least:
        raise range_wrong(size)
    return offer


def range_wrong(size: int) -> Problem:
    """The Content-Range is missing, or says something else than the body."""
    return Problem(problems.CONTENT_RANGE_WRONG, least=least_of(size))


def _part(headers: Headers) -> tuple[int, int, int]:
    length = None
    if headers.content_length is not None and _LENGTH.fullmatch(headers.content_length):
        length = int(headers.content_length)
    if headers.content_range is None:
        if length is None:
            raise range_wrong(0)
        return 0, length, length
    found = _RANGE.fullmatch(headers.content_range.strip())
    if found is None:
        raise range_wrong(0)
    first, last, size = (int(part) for part in found.groups())
    if not first <= last < size or length not in (None, last + 1 - first):
        raise range_wrong(size)
    return first, last + 1, size


def cover(spans: Iterable[tuple[int, int]], size: int) -> list[tuple[int, int]] | None:
    """Those of the spans (first, end) that, one behind the other, reach from 0 to `size`; None: there is a hole.

    They may overlap: what was sent twice at once is kept twice.
    """
    ordered = sorted(spans)
    chosen: list[tuple[int, int]] = []
    reached = 0
    while reached < size:
        best = max((span for span in ordered if span[0] <= reached), key=lambda span: span[1], default=None)
        if best is None or best[1] <= reached:
            return None
        chosen.append(best)
        reached = best[1]
    return chosen
