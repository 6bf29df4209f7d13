import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial

import structlog
from fastapi import Depends, FastAPI
from sqlalchemy import select
from starlette.datastructures import State

from app.accounts import logged
from app.accounts import service as accounts
from app.accounts.account_routes import router as account_router
from app.accounts.callers import Callers
from app.accounts.passwords import Passwords
from app.accounts.routes import router as accounts_router
from app.accounts.throttle import Throttle
from app.alerts import engine as alerts_engine
from app.alerts import service as alerts
from app.alerts.routes import polled as polled_alerts_router
from app.alerts.routes import router as alerts_router
from app.alerts.sightings import Sightings
from app.attachments import pruning
from app.attachments.routes import router as attachments_router
from app.attachments.store import open_store
from app.core import errors, operations, pages
from app.core.admission import only_asked_form
from app.core.clock import Clock, SystemClock
from app.core.database import Database, DatabaseAway
from app.core.gateway import Gateway
from app.core.queries import only_known_query
from app.core.serving import on_stop
from app.core.settings import Settings
from app.core.timers import Job, Timer
from app.deliveries import queue as deliveries
from app.deliveries.routes import router as deliveries_router
from app.deliveries.sending import Sender
from app.detection import engine as detection_engine
from app.detection.routes import router as detection_router
from app.drills.routes import router as drills_router
from app.evaluation.routes import router as evaluation_router
from app.feed import service as feed
from app.feed.heads import Heads
from app.feed.revocations import Revocations
from app.feed.service import Advanced
from app.figures.routes import router as figures_router
from app.hazards.policy import load_policy
from app.hazards.routes import router as hazards_router
from app.incidents import proposing
from app.incidents.routes import router as incidents_router
from app.intake import overdue
from app.intake.routes import quarantine as quarantine_router
from app.intake.routes import router as intake_router
from app.intake.writer import Writer
from app.matters.routes import router as matters_router
from app.nodes.models import City
from app.nodes.routes import router as nodes_router
from app.reports import handover
from app.reports.routes import held as custody_router
from app.reports.routes import router as reports_router
from app.rollcalls import engine as rollcalls_engine
from app.rollcalls import service as rollcalls
from app.rollcalls.routes import router as rollcalls_router
from app.rollcalls.routes import silence as silence_router

log = structlog.get_logger()

PRUNE_SECONDS = 3600
STOP_SECONDS = 6
PRUNE_AFTER_START_SECONDS = 60
# Timers that a commit may give something to do at once.
FOLLOW_LOG = frozenset({"deliveries"})
# Early signs are of hours and days, and looking for them costs what thousands of reports cost; what is held is late by
# minutes; offices close at midnight; unfinished uploads are forgotten after days.
SECONDS_APART = {
    "detection": 10.0,
    "quarantine": 10.0,
    "handover": 60.0,
    "proposals": 5.0,
    "keys": 60.0,
    "attachments": 3600.0,
}

DESCRIPTION = """
Three-tier incident reporting and early warning: villages and towns report what threatens life, health, homes or an
essential service; what is urgent becomes an alert in the same transaction; the city polls and acts.

Sign in at `/v1/auth/token`, or send an API key, as `Authorization: Bearer`. Problems are `application/problem+json`
with a stable `code`; `Accept-Language: zh` gives their sentences in Chinese. Unknown query parameters are refused.
"""


def create_app(settings: Settings | None = None, *, clock: Clock | None = None) -> FastAPI:
    """The application, ready to serve; its database is opened here and closed at shutdown."""
    settings = settings or Settings()
    clock = clock or SystemClock()
    database = Database(settings.database_url, pool=settings.database_pool)
    policy = load_policy(settings.policy_file)
    app = FastAPI(
        title="Beacon",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=_lifespan,
        dependencies=[Depends(only_known_query), Depends(only_asked_form)],
        redirect_slashes=False,
        strict_content_type=False,
        docs_url=None,
        redoc_url=None,
    )
    state = app.state
    state.settings, state.database, state.clock, state.policy = settings, database, clock, policy
    state.heads = Heads(database, poll_seconds=settings.feed_poll_seconds)
    state.callers = Callers(database, settings=settings, clock=clock, hand_in=policy.quarantine.within)
    state.authenticate = state.callers.authenticate
    state.passwords = Passwords()
    state.throttle = Throttle(per_minute=settings.sign_in_attempts_per_minute)
    state.writer = Writer(database, policy, clock)
    state.sightings = Sightings(clock)
    state.sender = Sender(database, clock, private_targets=settings.delivery_private_targets)
    state.attachments = open_store(settings)
    state.timers = _timers(state)
    state.wake_deliveries = next(timer for timer in state.timers if timer.name == "deliveries").wake
    state.tree_listeners = [alerts.follow_tree]
    database.before_commit.append(Revocations(clock).record)
    database.listeners += [state.heads.heard, state.callers.heard, logged.heard, partial(_wake, state.timers)]

    errors.install(app)
    for router in (
        # The busiest first: routes are tried in this order.
        polled_alerts_router,
        intake_router,
        alerts_router,
        operations.router,
        accounts_router,
        account_router,
        nodes_router,
        hazards_router,
        reports_router,
        quarantine_router,
        custody_router,
        attachments_router,
        incidents_router,
        matters_router,
        figures_router,
        detection_router,
        deliveries_router,
        drills_router,
        evaluation_router,
        rollcalls_router,
        silence_router,
        pages.router,
    ):
        app.include_router(router)
    app.add_middleware(Gateway, settings=settings)
    return app


def _timers(state: State) -> list[Timer]:
    """What happens by time, each kind in a task of its own."""
    database, clock, policy = state.database, state.clock, state.policy
    jobs: dict[str, Job] = {
        "alerts": partial(alerts_engine.run_due, database, clock=clock),
        "detection": partial(
            detection_engine.run_due, database, policy=policy, clock=clock, answered=rollcalls.towns_answered
        ),
        "proposals": partial(proposing.run_due, database, policy=policy, clock=clock),
        "quarantine": partial(overdue.run_due, database, policy=policy, clock=clock),
        "handover": partial(handover.run_due, database, clock=clock),
        "rollcalls": partial(rollcalls_engine.run_due, database, policy=policy, clock=clock),
        "sightings": partial(state.sightings.flush, database),
        "keys": partial(state.callers.key_use.flush, database),
        "deliveries": state.sender.run_due,
        "attachments": partial(
            pruning.run_due, database, store=state.attachments, clock=clock, settings=state.settings
        ),
    }
    seconds = state.settings.timers_poll_seconds
    return [
        Timer(
            name,
            job,
            clock=clock,
            poll_seconds=max(seconds, SECONDS_APART.get(name, 0)),
            follows_log=name in FOLLOW_LOG,
        )
        for name, job in jobs.items()
    ]


def _wake(timers: list[Timer], message: object) -> None:
    if isinstance(message, Advanced):
        for timer in timers:
            if timer.follows_log:
                timer.wake()


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    # What is loaded now lives as long as the process: collecting it again and again would stall requests.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    following = asyncio.create_task(state.heads.run())
    timing = [asyncio.create_task(timer.run()) for timer in state.timers] if state.settings.timers_poll_seconds else []
    tasks = [
        following,
        *timing,
        asyncio.create_task(_prune(state.database, state.clock, keep=timedelta(days=state.settings.feed_keep_days))),
    ]
    try:
        with on_stop(state.heads.stop):
            yield
    finally:
        state.heads.stop()
        await state.writer.stop()
        for timer in state.timers:
            timer.stop()
        await asyncio.wait([following, *timing], timeout=STOP_SECONDS)
        await state.sender.stop()
        with contextlib.suppress(DatabaseAway):
            await state.sightings.flush(state.database)
            await state.callers.key_use.flush(state.database)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        state.passwords.close()
        await state.database.close()


async def _prune(database: Database, clock: Clock, *, keep: timedelta) -> None:
    """Forget what no cursor may ask for any more, once an hour."""
    # Not while starting, when everybody comes back at once.
    await asyncio.sleep(PRUNE_AFTER_START_SECONDS)
    while True:
        try:
            async with database.reading() as conn:
                cities = (await conn.execute(select(City.city_id))).scalars().all()
            async with database.writing() as conn:
                await accounts.prune(conn, now=clock.now())
            for city_id in cities:
                async with database.writing() as conn:
                    await deliveries.prune(conn, city_id=city_id, before=clock.now() - keep)
                async with database.writing() as conn:
                    await feed.prune(conn, city_id=city_id, before=clock.now() - keep)
        except Exception as error:  # noqa: BLE001  whatever it was, the next hour may pass
            log.warning("pruning failed", error=type(error).__name__)
        await asyncio.sleep(PRUNE_SECONDS)
