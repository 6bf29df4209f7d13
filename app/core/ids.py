from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): ordered by the time it was made, so it is kind to indexes."""
    return uuid7()
