"""What a test asks the tables for directly."""

from typing import Any

from sqlalchemy import func, select

from app.alerts.models import Alert
from app.core.database import Database
from app.feed.models import FeedEvent, FeedHead
from app.incidents.models import Incident
from app.reports.models import Activity, Custody, Report

RECORDS = (Report, Custody, Activity, Incident, Alert, FeedEvent)


async def counts(database: Database) -> dict[str, int]:
    """Rows in each table of records; the numbers given out by the feed."""
    async with database.reading() as conn:
        found = {
            table.__tablename__: (await conn.execute(select(func.count()).select_from(table))).scalar_one()
            for table in RECORDS
        }
        found["numbers"] = (await conn.execute(select(func.coalesce(func.sum(FeedHead.last_seq), 0)))).scalar_one()
    return found


async def rows(database: Database, table: Any) -> list[Any]:
    """All rows of a table."""
    async with database.reading() as conn:
        return list((await conn.execute(select(*table.__table__.columns))).all())
