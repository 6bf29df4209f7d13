"""How what is stored goes out: as a file to be saved, under a name that fits it. Pure."""

SUFFIXES = {"audio/wav": ".wav", "image/jpeg": ".jpg", "image/png": ".png"}


def headers(name: str, content_type: str, stored_sha256: str) -> dict[str, str]:
    """The headers of an answer with these bytes; a slot that is stored never changes."""
    stem, dot, _ = name.rpartition(".")
    return {
        "ETag": f'"{stored_sha256}"',
        # The browser asks each time: who may see it can change.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{stem if dot else name}{SUFFIXES[content_type]}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }


def matches(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has these bytes already (RFC 9110 section 13.1.2)."""
    if if_none_match is None:
        return False
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return bool(tags & {"*", etag})
