import asyncio
from typing import Annotated, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Header, Request, Response
from pydantic import ValidationError

from app.core import problems
from app.core.caller import Caller, may, may_hand_in
from app.core.database import Contention, DatabaseAway, Reading, Writing, database_of
from app.core.errors import Problem, field_errors, language_of
from app.core.paging import Cursor, Limit, Page
from app.core.tags import etag, if_match, tagged
from app.core.texts import clean
from app.drills.scope import DrillId
from app.intake import correcting, deciding
from app.intake.applying import Corrected
from app.intake.schemas import Batch, BatchResult, BatchResults, CorrectionIn, Decision, Rejection, ReportIn
from app.intake.service import Result
from app.intake.submission import Submission, prepare
from app.intake.views import QuarantineView
from app.intake.writer import Writer
from app.reports.views import ReportView

log = structlog.get_logger()

router = APIRouter(prefix="/v1/reports", tags=["reports"])

quarantine = APIRouter(prefix="/v1/quarantine", tags=["reports"])

# Also one whose sign-in has lapsed: what was written before is held for the desk above.
LateSender = Annotated[Caller, Depends(may_hand_in)]
Reader = Annotated[Caller, Depends(may("reports:read"))]
Desk = Annotated[Caller, Depends(may("alerts:act"))]


@router.post(
    "",
    status_code=201,
    response_model=ReportView,
    responses={
        200: {"description": "Stored before: the first answer again.", "model": ReportView},
        202: {"description": "Written in time, come too late: held for the desk above.", "model": QuarantineView},
    },
)
async def post_report(request: Request, caller: LateSender, body: ReportIn) -> Response:
    """Take one report. 201 means that it is durable, with its alert when it is urgent."""
    result = await _submit(request, _prepare(request, caller, body))
    if result.problem is not None:
        raise result.problem
    return _answer(result, 201 if result.status == "created" else 200)


@router.post("/batch")
async def post_batch(request: Request, caller: LateSender, body: Batch) -> BatchResults:
    """Take up to 500 reports. Always 200: the result of each stands at its place, and none blocks another."""
    seen: set[str] = set()
    corrected: set[str] = set()
    # First the reports, then the corrections: a phone may send both of one report in one batch.
    first = [at for at, item in enumerate(body.reports) if not _is_correction(item)]
    found = await asyncio.gather(*(_take_item(request, caller, body.reports[at], seen) for at in first))
    results = dict(zip(first, found, strict=True))
    for at, item in enumerate(body.reports):
        # One after the other: each is a transaction of its own, and what is urgent must not wait for all of them.
        if at not in results:
            results[at] = await _take_item(request, caller, item, corrected)
    return BatchResults(results=[results[at] for at in range(len(body.reports))])


@router.put(
    "/{report_id}",
    response_model=ReportView,
    responses={
        202: {"description": "Written in time, come too late: held for the desk above.", "model": QuarantineView}
    },
)
async def correct_report(
    request: Request,
    caller: LateSender,
    report_id: UUID,
    body: ReportIn,
    base: Annotated[
        str | None, Header(alias="If-Match", max_length=64, description='The version that it corrects: "1".')
    ] = None,
) -> Response:
    """Correct a report: what it says from now on, all of it. Every version stays readable."""
    if base is None:
        raise Problem(problems.IF_MATCH_REQUIRED)
    version = if_match(base)
    if version is None:
        # A correction is of one version: "any" is none.
        raise Problem(problems.IF_MATCH_INVALID)
    if body.id != report_id:
        raise Problem(problems.CORRECTION_MOVES, pointer="/id", field="id")
    done = await _correct(request, caller, body, version)
    return _answer(done, 200)


@quarantine.get("")
async def list_held(
    caller: Reader,
    conn: Reading,
    state: Literal["held", "released", "rejected"] = "held",
    drill: DrillId = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[QuarantineView]:
    """Reports that wait for the desk's decision, the first due first."""
    items, after = await deciding.list_held(
        conn, caller=caller, state=state, drill_id=drill, limit=limit, cursor=cursor
    )
    return Page(items=items, next=after)


@quarantine.get("/{report_id}")
async def get_held(caller: Reader, conn: Reading, report_id: UUID) -> QuarantineView:
    """One report that is held, or was."""
    return await deciding.get(conn, caller=caller, report_id=report_id)


@quarantine.post("/{report_id}/release")
async def release_held(
    request: Request, response: Response, caller: Desk, report_id: UUID, body: Decision
) -> ReportView:
    """Store it as a report, with all it causes."""
    note, _ = clean(body.note, pointer="/note")
    return tagged(
        response,
        await deciding.release(
            database_of(request),
            policy=request.app.state.policy,
            caller=caller,
            report_id=report_id,
            note=note,
            now=request.app.state.clock.now(),
        ),
    )


@quarantine.post("/{report_id}/reject")
async def reject_held(
    request: Request, caller: Desk, conn: Writing, report_id: UUID, body: Rejection
) -> QuarantineView:
    """Refuse it, with the reason."""
    note, _ = clean(body.note, pointer="/note", required=True)
    return await deciding.reject(conn, caller=caller, report_id=report_id, note=note, now=request.app.state.clock.now())


def _answer(done: Result | Corrected, status: int) -> Response:
    """The report, or the receipt of what is held."""
    shown = done.receipt or done.report
    assert shown is not None
    headers = {} if done.report is None else {"ETag": etag(done.report.version)}
    if done.receipt is not None:
        status, headers = 202, {"Location": f"{quarantine.prefix}/{done.receipt.id}"}
    elif status == 201:
        headers["Location"] = f"{router.prefix}/{shown.id}"
    # Serialized once, here: the row has already passed through the types.
    return Response(shown.model_dump_json(), status, headers, media_type="application/json")


def _is_correction(item: object) -> bool:
    return isinstance(item, dict) and "base_version" in item


def _prepare(request: Request, caller: Caller, body: ReportIn, node: str | None = None) -> Submission:
    return prepare(body, caller=caller, now=request.app.state.clock.now(), node=node)


async def _correct(request: Request, caller: Caller, body: ReportIn, base_version: int) -> Corrected:
    database = database_of(request)
    async with database.reading() as conn:
        node = await correcting.node_of(conn, caller=caller, report_id=body.id)
    return await correcting.correct(
        database,
        policy=request.app.state.policy,
        submission=_prepare(request, caller, body, node),
        node=node,
        base_version=base_version,
        now=request.app.state.clock.now(),
    )


async def _submit(request: Request, submission: Submission) -> Result:
    writer: Writer = request.app.state.writer
    return await writer.submit(submission)


async def _take_item(request: Request, caller: Caller, item: object, seen: set[str]) -> BatchResult:
    language = language_of(request)
    given = item.get("id") if isinstance(item, dict) else None
    shown = given[:64].encode("utf-8", "replace").decode() if isinstance(given, str) else None
    try:
        body = (CorrectionIn if _is_correction(item) else ReportIn).model_validate(item)
        key = body.id.hex
        if key in seen:
            raise Problem(problems.ID_DUPLICATE, pointer="/id")
        if isinstance(body, CorrectionIn):
            seen.add(key)
            corrected = await _correct(request, caller, body, body.base_version)
            return BatchResult(id=shown, status=corrected.status, report=corrected.report, receipt=corrected.receipt)
        submission = _prepare(request, caller, body)
        seen.add(key)
        result = await _submit(request, submission)
    except ValidationError as error:
        problem = Problem(problems.INVALID, count=error.error_count())
        problem.errors = field_errors(list(error.errors(include_input=False, include_context=False)), language)
        return BatchResult(id=shown, status="rejected", problem=problem.body(language))
    except Problem as problem:
        if problem.kind is problems.TOO_MANY:
            # Not this report's fault: the whole batch is to be sent again.
            raise
        status: Literal["conflict", "rejected"] = (
            "conflict" if problem.kind is problems.VERSION_CONFLICT else "rejected"
        )
        return BatchResult(id=shown, status=status, problem=problem.body(language))
    except (DatabaseAway, Contention):
        # The whole batch is to be sent again: what is stored already will be a replay.
        raise
    except Exception as error:  # noqa: BLE001  one item's failure must not cost the others their answer
        log.error("failure", path="/v1/reports/batch", error=type(error).__name__)
        return BatchResult(id=shown, status="rejected", problem=Problem(problems.INTERNAL).body(language))
    return BatchResult(
        id=shown,
        status=result.status,
        report=result.report,
        receipt=result.receipt,
        problem=result.problem.body(language) if result.problem else None,
    )
