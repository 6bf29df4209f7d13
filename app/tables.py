"""Every table, known to the metadata: what migrations and tests compare the database with."""

from app.accounts import models as accounts
from app.alerts import models as alerts
from app.attachments import models as attachments
from app.core.database import Base
from app.deliveries import models as deliveries
from app.detection import models as detection
from app.drills import models as drills
from app.feed import models as feed
from app.incidents import models as incidents
from app.intake import models as intake
from app.nodes import models as nodes
from app.reports import models as reports
from app.rollcalls import models as rollcalls

__all__ = [
    "accounts",
    "alerts",
    "attachments",
    "deliveries",
    "detection",
    "drills",
    "feed",
    "incidents",
    "intake",
    "metadata",
    "nodes",
    "reports",
    "rollcalls",
]

metadata = Base.metadata
