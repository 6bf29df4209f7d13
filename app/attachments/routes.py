from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response

from app.attachments import offers, rows, service, serving
from app.attachments.store import Store
from app.attachments.views import Attachments, AttachmentView
from app.core import problems
from app.core.caller import Caller, may, may_hand_in
from app.core.database import Reading, database_of
from app.core.errors import Problem

router = APIRouter(prefix="/v1/reports", tags=["reports"])

# Also one whose sign-in has lapsed: photos come late.
LateSender = Annotated[Caller, Depends(may_hand_in)]
Reader = Annotated[Caller, Depends(may("reports:read"))]

STATUS = {"uploading": 202, "stored": 201, "replayed": 200}
BYTES = {"schema": {"type": "string", "format": "binary"}}


@router.put(
    "/{report_id}/attachments/{name}",
    status_code=201,
    response_model=AttachmentView,
    responses={
        200: {"description": "Stored before, with the same digest.", "model": AttachmentView},
        202: {"description": "A part has arrived; go on from `received`.", "model": AttachmentView},
    },
    openapi_extra={"requestBody": {"required": True, "content": dict.fromkeys(sorted(offers.TYPES), BYTES)}},
)
async def put_attachment(
    request: Request,
    caller: LateSender,
    report_id: UUID,
    name: str,
    repr_digest: Annotated[str | None, Header(max_length=400, description="sha-256=:BASE64: of the whole file")] = None,
    content_range: Annotated[str | None, Header(max_length=60, description="bytes FIRST-LAST/SIZE, of a part")] = None,
    content_type: Annotated[str | None, Header(max_length=200)] = None,
    content_length: Annotated[str | None, Header(max_length=20)] = None,
) -> Response:
    """Send a photo or a recording of a report, whole or in parts; 201 means that it is stored, made anew."""
    state = request.app.state
    headers = offers.Headers(content_type, content_length, content_range, repr_digest)
    taken = await service.take(
        database_of(request),
        _store(request),
        caller=caller,
        offer=offers.read(report_id, name, headers, most=state.settings.attachment_limit_bytes),
        body=request.stream(),
        clock=state.clock,
        settings=state.settings,
    )
    shown = taken.attachment
    return Response(
        shown.model_dump_json(),
        STATUS[taken.status],
        {"Upload-Offset": str(shown.received), "Location": request.scope["path"]},
        media_type="application/json",
    )


@router.head("/{report_id}/attachments/{name}", status_code=204, response_class=Response)
async def ask_progress(caller: LateSender, conn: Reading, report_id: UUID, name: str) -> Response:
    """How far a file has come, for its sender: `Upload-Offset` of `Upload-Length` bytes, and `Upload-State`."""
    found = await rows.progress(conn, caller=caller, report_id=report_id, name=name)
    headers = {
        "Upload-Offset": str(found.received),
        "Upload-Length": str(found.size),
        "Upload-State": found.state,
    }
    return Response(status_code=204, headers=headers)


@router.get("/{report_id}/attachments")
async def list_attachments(caller: Reader, conn: Reading, report_id: UUID) -> Attachments:
    """What a report has: what is stored, and what is still coming."""
    return Attachments(items=await rows.of_report(conn, caller=caller, report_id=report_id))


@router.get(
    "/{report_id}/attachments/{name}",
    response_class=Response,
    responses={
        200: {"description": "The photo or the recording.", "content": dict.fromkeys(serving.SUFFIXES, BYTES)},
        304: {"description": "`If-None-Match` names what is stored."},
    },
)
async def get_attachment(
    request: Request,
    caller: Reader,
    report_id: UUID,
    name: str,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Response:
    """A stored photo or recording, to be saved and never to be run."""
    async with database_of(request).reading() as conn:
        row = await rows.stored(conn, caller=caller, report_id=report_id, name=name)
    headers = serving.headers(row["name"], row["content_type"], row["stored_sha256"])
    if serving.matches(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    data = await _store(request).get(row["store_key"])
    if data is None:
        raise Problem(problems.STORE_AWAY)
    return Response(data, headers=headers, media_type=row["content_type"])


def _store(request: Request) -> Store:
    store: Store = request.app.state.attachments
    return store
