"""A raised alert always has a next time: what had none is due now."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    alerts = sa.table("alerts", sa.column("state"), sa.column("escalation_next_at"), sa.column("raised_at"))
    op.execute(
        alerts.update()
        .where(alerts.c.state == "raised", alerts.c.escalation_next_at.is_(None))
        .values(escalation_next_at=alerts.c.raised_at)
    )


def downgrade() -> None:
    """The times do no harm to an older version."""
