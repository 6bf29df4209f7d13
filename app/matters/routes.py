from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response

from app.core.caller import Caller, may
from app.core.database import database_of
from app.core.tags import IfMatch, tagged
from app.core.texts import clean
from app.matters import dismissing, merging, outcome, splitting
from app.matters.schemas import Assign, Dismiss, End, Merge, Reopen, Split
from app.matters.views import Acted, Regrouped

router = APIRouter(prefix="/v1/incidents", tags=["incidents"])

Done = TypeVar("Done", bound=Acted)
Desk = Annotated[Caller, Depends(may("alerts:act"))]


@router.post("/{incident_id}/merge")
async def merge_incident(
    request: Request, response: Response, caller: Desk, incident_id: UUID, body: Merge, version: IfMatch = None
) -> Regrouped:
    """Merge the incident into another one, which has its reports from then on; with `dry_run` only show it."""
    reason, _ = clean(body.reason, pointer="/reason", required=True)
    return _tagged(
        response,
        await merging.merge(
            database_of(request),
            caller=caller,
            policy=request.app.state.policy,
            incident_id=incident_id,
            into=body.into,
            reason=reason,
            version=body.version if version is None else version,
            dry_run=body.dry_run,
            now=request.app.state.clock.now(),
        ),
    )


@router.post("/{incident_id}/split")
async def split_incident(
    request: Request, response: Response, caller: Desk, incident_id: UUID, body: Split, version: IfMatch = None
) -> Regrouped:
    """Split reports off into a new incident, or undo the merge of an alias; with `dry_run` only show it."""
    reason, _ = clean(body.reason, pointer="/reason", required=True)
    return _tagged(
        response,
        await splitting.split(
            database_of(request),
            caller=caller,
            policy=request.app.state.policy,
            incident_id=incident_id,
            reports=body.reports,
            alias=body.alias,
            reason=reason,
            version=body.version if version is None else version,
            dry_run=body.dry_run,
            now=request.app.state.clock.now(),
        ),
    )


@router.post("/{incident_id}/dismiss")
async def dismiss_proposal(
    request: Request, response: Response, caller: Desk, incident_id: UUID, body: Dismiss, version: IfMatch = None
) -> Regrouped:
    """Say that the incident and another one, proposed as one, are two: for good."""
    reason, _ = clean(body.reason, pointer="/reason", required=True)
    return _tagged(
        response,
        await dismissing.dismiss(
            database_of(request),
            caller=caller,
            incident_id=incident_id,
            other=body.other,
            reason=reason,
            version=body.version if version is None else version,
            now=request.app.state.clock.now(),
        ),
    )


@router.post("/{incident_id}/assign")
async def assign_incident(
    request: Request, response: Response, caller: Desk, incident_id: UUID, body: Assign, version: IfMatch = None
) -> Acted:
    """Let an office lead."""
    note, _ = clean(body.note, pointer="/note")
    return _tagged(
        response,
        await outcome.assign(
            database_of(request),
            caller=caller,
            incident_id=incident_id,
            node=body.node,
            due_at=body.due_at,
            note=note,
            version=version,
            now=request.app.state.clock.now(),
        ),
    )


@router.post("/{incident_id}/outcome")
async def end_incident(
    request: Request, response: Response, caller: Desk, incident_id: UUID, body: End, version: IfMatch = None
) -> Acted:
    """End the matter: its outcome is told of each of its reports."""
    text, _ = clean(body.text, pointer="/text", required=True)
    return _tagged(
        response,
        await outcome.end(
            database_of(request),
            caller=caller,
            incident_id=incident_id,
            outcome=body.outcome,
            text=text,
            version=version,
            now=request.app.state.clock.now(),
        ),
    )


@router.post("/{incident_id}/reopen")
async def reopen_incident(
    request: Request, response: Response, caller: Desk, incident_id: UUID, body: Reopen, version: IfMatch = None
) -> Acted:
    """Open a matter again that had an outcome."""
    reason, _ = clean(body.reason, pointer="/reason", required=True)
    return _tagged(
        response,
        await outcome.reopen(
            database_of(request),
            caller=caller,
            incident_id=incident_id,
            reason=reason,
            version=version,
            now=request.app.state.clock.now(),
        ),
    )


def _tagged(response: Response, done: Done) -> Done:
    # A dry run shows a version that does not exist.
    if not (isinstance(done, Regrouped) and done.dry_run):
        tagged(response, done.incident)
    return done
