import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

# Beyond these a database's own range, or its arithmetic, ends.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)")


def _written_out(value: object) -> object:
    # pydantic also takes numbers, and numbers in quotes, as unix times: a fault of the device, worth telling.
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    raise ValueError("not an RFC 3339 time with an offset")


def _within_range(value: datetime) -> datetime:
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("out of range") from None
    if not EARLIEST <= moment <= LATEST:
        raise ValueError("out of range")
    return moment


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        # The last hours of year 9999, or the first of year 1, of somewhere else.
        return (datetime.max if value.year > 1 else datetime.min).replace(tzinfo=UTC)


Time = Annotated[
    AwareDatetime, BeforeValidator(_written_out, json_schema_input_type=datetime), AfterValidator(_within_range)
]
"""An RFC 3339 time with an offset, between 1970 and 2200; UTC once read."""

AnyTime = Annotated[
    AwareDatetime, BeforeValidator(_written_out, json_schema_input_type=datetime), AfterValidator(_in_utc)
]
"""An RFC 3339 time with an offset, whenever: what a device with a wrong clock says. UTC once read."""
