import asyncio
from datetime import timedelta
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request, Response
from pydantic import ValidationError

from app.core import problems
from app.core.caller import Caller, may
from app.core.database import DatabaseAway
from app.core.errors import Problem, field_errors, language_of
from app.intake.schemas import Batch, BatchResult, BatchResults, ReportIn
from app.intake.service import Result
from app.intake.submission import Submission, prepare
from app.intake.writer import Writer
from app.reports.views import ReportView

log = structlog.get_logger()

router = APIRouter(prefix="/v1/reports", tags=["reports"])

Sender = Annotated[Caller, Depends(may("reports:write"))]


@router.post(
    "",
    status_code=201,
    response_model=ReportView,
    responses={200: {"description": "Stored before: the first answer again.", "model": ReportView}},
)
async def post_report(request: Request, caller: Sender, body: ReportIn) -> Response:
    """Take one report. 201 means that it is durable, with its alert when it is urgent."""
    result = await _submit(request, _prepare(request, caller, body))
    if result.report is None:
        assert result.problem is not None
        raise result.problem
    # Serialized once, here: the row has already passed through the types.
    return Response(
        result.report.model_dump_json(),
        status_code=201 if result.status == "created" else 200,
        media_type="application/json",
    )


@router.post("/batch")
async def post_batch(request: Request, caller: Sender, body: Batch) -> BatchResults:
    """Take up to 500 reports. Always 200: the result of each stands at its place, and none blocks another."""
    seen: set[str] = set()
    return BatchResults(
        results=await asyncio.gather(*(_take_item(request, caller, item, seen) for item in body.reports))
    )


def _prepare(request: Request, caller: Caller, body: ReportIn) -> Submission:
    state = request.app.state
    skew = timedelta(minutes=state.settings.clock_skew_minutes)
    return prepare(body, caller=caller, now=state.clock.now(), skew=skew)


async def _submit(request: Request, submission: Submission) -> Result:
    writer: Writer = request.app.state.writer
    return await writer.submit(submission)


async def _take_item(request: Request, caller: Caller, item: object, seen: set[str]) -> BatchResult:
    language = language_of(request)
    given = item.get("id") if isinstance(item, dict) else None
    shown = given[:64].encode("utf-8", "replace").decode() if isinstance(given, str) else None
    try:
        body = ReportIn.model_validate(item)
        key = body.id.hex
        if key in seen:
            raise Problem(problems.ID_DUPLICATE, pointer="/id")
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
        return BatchResult(id=shown, status="rejected", problem=problem.body(language))
    except DatabaseAway:
        # The whole batch is to be sent again: what is stored already will be a replay.
        raise
    except Exception as error:  # noqa: BLE001  one item's failure must not cost the others their answer
        log.error("failure", path="/v1/reports/batch", error=type(error).__name__)
        return BatchResult(id=shown, status="rejected", problem=Problem(problems.INTERNAL).body(language))
    return BatchResult(
        id=shown,
        status=result.status,
        report=result.report,
        problem=result.problem.body(language) if result.problem else None,
    )
