"""Photos and recordings, piece by piece: what has arrived is never sent again."""

import base64
from hashlib import sha256
from urllib.parse import quote

import httpx

from app.field import answers
from app.field.answers import Verdict
from app.field.outbox import Step


def piece(client: httpx.AsyncClient, step: Step, *, most: int) -> httpx.Request:
    """The request that sends the next piece of a file: RFC 9530's digest is of the whole of it."""
    size = len(step.body)
    end = min(size, step.sent + most)
    return client.build_request(
        "PUT",
        f"/v1/reports/{step.report_id}/attachments/{quote(step.name or '', safe='')}",
        content=step.body[step.sent : end],
        headers={
            "Content-Type": step.media_type or "application/octet-stream",
            "Content-Range": f"bytes {step.sent}-{end - 1}/{size}",
            "Repr-Digest": f"sha-256=:{base64.b64encode(sha256(step.body).digest()).decode()}:",
        },
    )


def verdict(step: Step, status: int, content: bytes) -> Verdict:
    """What the answer to a piece means; `part` says in `received` from where to go on."""
    body = answers.parsed(content)
    if body is not None and body.get("name") == step.name and status in (200, 201):
        return Verdict("stored", body)
    code = answers.code_of(status, body)
    if body is not None and (code == "offset_wrong" or (status == 202 and body.get("name") == step.name)):
        received = body.get("received")
        # Nothing gained: not at once again, or a server in disorder would be asked without end.
        return Verdict("part" if isinstance(received, int) and received != step.sent else "again", body)
    if body is not None and code == "digest_wrong":
        return Verdict("again", body)
    return answers.failure(status, body, parked=step.parked)
