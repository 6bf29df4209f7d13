from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request, Response

from app.core.caller import Caller, may
from app.core.database import Snapshot, Writing
from app.core.paging import Cursor, Limit, Page
from app.core.tags import located
from app.core.texts import clean
from app.deliveries import service
from app.deliveries.schemas import (
    DeliveryDetail,
    DeliveryView,
    ReceiptView,
    ReceiverMade,
    ReceiverNew,
    ReceiverPatch,
    ReceiverView,
    delivery_fields,
    receiver_fields,
    secret_of,
)

shared = APIRouter(tags=["deliveries"])

KINDS = {"webhooks": "webhook", "channels": "channel"}


async def _kind(request: Request) -> str:
    return KINDS[request.scope["path"].split("/")[2]]


Admin = Annotated[Caller, Depends(may("accounts:admin"))]
Kind = Annotated[str, Depends(_kind)]


@shared.get("")
async def list_receivers(
    caller: Admin, conn: Snapshot, kind: Kind, limit: Limit = 50, cursor: Cursor = None
) -> Page[ReceiverView]:
    """Who is told of what happens in the caller's subtree."""
    found, after = await service.list_receivers(conn, caller=caller, kind=kind, limit=limit, cursor=cursor)
    return Page(items=[ReceiverView(**receiver_fields(row, counts)) for row, counts in found], next=after)


@shared.post("", status_code=201)
async def create_receiver(
    request: Request, response: Response, caller: Admin, conn: Writing, kind: Kind, body: ReceiverNew
) -> ReceiverMade:
    """Tell somebody of what happens from now on. Its secret and its whole address are shown this once."""
    label, _ = clean(body.label, pointer="/label", multiline=False, required=True)
    state = request.app.state
    row = await service.create(
        conn,
        caller=caller,
        kind=kind,
        label=label[:80],
        url=body.url,
        node=body.node,
        events=body.events,
        levels=[str(level) for level in body.levels],
        drills=body.drills,
        private_targets=state.settings.delivery_private_targets,
        now=state.clock.now(),
    )
    located(response, f"{request.scope['path']}/{row['id']}")
    return ReceiverMade(**{**receiver_fields(row, {}), "url": row["url"]}, secret=secret_of(row))


@shared.get("/{receiver_id}")
async def get_receiver(caller: Admin, conn: Snapshot, kind: Kind, receiver_id: UUID) -> ReceiverView:
    """One receiver, and how many deliveries wait for it or were given up."""
    row, counts = await service.get(conn, caller=caller, kind=kind, receiver_id=receiver_id)
    return ReceiverView(**receiver_fields(row, counts))


@shared.patch("/{receiver_id}")
async def change_receiver(
    request: Request, caller: Admin, conn: Writing, kind: Kind, receiver_id: UUID, body: ReceiverPatch
) -> ReceiverView:
    """Change what it is told of, disable it, or enable it again."""
    changes = body.model_dump(exclude_unset=True, mode="json")
    if "label" in changes:
        changes["label"] = clean(changes["label"], pointer="/label", multiline=False, required=True)[0]
    now = request.app.state.clock.now()
    await service.change(conn, caller=caller, kind=kind, receiver_id=receiver_id, changes=changes, now=now)
    row, counts = await service.get(conn, caller=caller, kind=kind, receiver_id=receiver_id)
    return ReceiverView(**receiver_fields(row, counts))


@shared.delete("/{receiver_id}", status_code=204)
async def delete_receiver(caller: Admin, conn: Writing, kind: Kind, receiver_id: UUID) -> Response:
    """Tell it nothing more."""
    await service.delete(conn, caller=caller, kind=kind, receiver_id=receiver_id)
    return Response(status_code=204)


@shared.post("/{receiver_id}/rotate")
async def rotate_secret(request: Request, caller: Admin, conn: Writing, kind: Kind, receiver_id: UUID) -> ReceiverMade:
    """Give it a new secret, shown this once; each one before it signs messages as well for a day."""
    row = await service.rotate(
        conn, caller=caller, kind=kind, receiver_id=receiver_id, now=request.app.state.clock.now()
    )
    return ReceiverMade(**receiver_fields(row, {}), secret=secret_of(row))


@shared.post("/{receiver_id}/test", status_code=202)
async def send_test(request: Request, caller: Admin, conn: Writing, kind: Kind, receiver_id: UUID) -> DeliveryView:
    """Send it a test message, now; its receipts tell what became of it."""
    row = await service.send_test(
        conn, caller=caller, kind=kind, receiver_id=receiver_id, now=request.app.state.clock.now()
    )
    request.app.state.wake_deliveries()
    return DeliveryView(**delivery_fields(row))


@shared.get("/{receiver_id}/deliveries")
async def list_deliveries(
    caller: Admin,
    conn: Snapshot,
    kind: Kind,
    receiver_id: UUID,
    state: Annotated[
        Literal["pending", "delivered", "failed"] | None, Query(description="`failed`: what was given up.")
    ] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DeliveryView]:
    """What was, or is to be, sent to it, the latest first."""
    rows, after = await service.list_deliveries(
        conn, caller=caller, kind=kind, receiver_id=receiver_id, state=state, limit=limit, cursor=cursor
    )
    return Page(items=[DeliveryView(**delivery_fields(row)) for row in rows], next=after)


@shared.get("/{receiver_id}/deliveries/{delivery_id}")
async def get_delivery(
    caller: Admin, conn: Snapshot, kind: Kind, receiver_id: UUID, delivery_id: UUID
) -> DeliveryDetail:
    """One delivery: what was sent, and a receipt for each try."""
    row, receipts = await service.get_delivery(
        conn, caller=caller, kind=kind, receiver_id=receiver_id, delivery_id=delivery_id
    )
    shown = [ReceiptView(**{name: one[name] for name in ReceiptView.model_fields}) for one in receipts]
    return DeliveryDetail(**delivery_fields(row), data=row["body"], receipts=shown)


@shared.post("/{receiver_id}/deliveries/{delivery_id}/replay", status_code=202)
async def replay_delivery(
    request: Request, caller: Admin, conn: Writing, kind: Kind, receiver_id: UUID, delivery_id: UUID
) -> DeliveryView:
    """Send it again, now, under the same webhook-id."""
    row = await service.replay(
        conn,
        caller=caller,
        kind=kind,
        receiver_id=receiver_id,
        delivery_id=delivery_id,
        now=request.app.state.clock.now(),
    )
    request.app.state.wake_deliveries()
    return DeliveryView(**delivery_fields(row))


# Other systems and notification channels are managed alike.
router = APIRouter()
for name in KINDS:
    router.include_router(shared, prefix=f"/v1/{name}")
