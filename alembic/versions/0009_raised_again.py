"""An office that an acknowledgement does not cover raises the alert again: which offices are covered is kept."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KEPT = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
OPEN = sa.text(
    """
    SELECT a.city_id, a.id, a.state, r.node_code, n.name
    FROM alerts a
    JOIN reports r ON r.city_id = a.city_id AND r.alert_id = a.id AND r.level IN ('red', 'orange')
    JOIN nodes n ON n.code = r.node_code
    WHERE a.state <> 'closed'
    ORDER BY a.id, r.node_code
    """
).columns(
    sa.column("city_id"), sa.column("id", sa.Uuid()), sa.column("state"), sa.column("node_code"), sa.column("name")
)


def added() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column(
            "urgent_offices",
            KEPT,
            nullable=False,
            server_default="{}",
            comment="with an urgent report on it: name by code",
        ),
        sa.Column(
            "covered",
            KEPT,
            nullable=False,
            server_default="[]",
            comment="those of them that were there when it was acknowledged",
        ),
        sa.Column("rearmed_at", MOMENT, comment="last raised again by another office"),
        sa.Column("gathered_until", MOMENT, comment="offices that reported since raise it again then, together"),
        sa.Column("last_owner", KEPT, comment="who had it when another office raised it again: is asked first"),
    )


def upgrade() -> None:
    with op.batch_alter_table("alerts") as batch:
        for column in added():
            batch.add_column(column)
        batch.create_index(op.f("ix_alerts_city_id_gathered_until"), ["city_id", "gathered_until"])

    # Of the alerts that are open: who has reported them, so that nobody is taken for new who is not.
    connection = op.get_bind()
    alerts = sa.table(
        "alerts",
        sa.column("city_id"),
        sa.column("id", sa.Uuid()),
        sa.column("urgent_offices", KEPT),
        sa.column("covered", KEPT),
    )
    offices: dict[tuple[str, UUID], dict[str, str]] = {}
    acknowledged = set()
    for city_id, alert_id, state, code, name in connection.execute(OPEN):
        offices.setdefault((city_id, alert_id), {})[code] = name
        if state == "acknowledged":
            acknowledged.add(alert_id)
    for (city_id, alert_id), names in offices.items():
        connection.execute(
            alerts.update()
            .where(alerts.c.city_id == city_id, alerts.c.id == alert_id)
            .values(urgent_offices=names, covered=sorted(names) if alert_id in acknowledged else [])
        )


def downgrade() -> None:
    with op.batch_alter_table("alerts") as batch:
        batch.drop_index(op.f("ix_alerts_city_id_gathered_until"))
        for name in ("last_owner", "gathered_until", "rearmed_at", "covered", "urgent_offices"):
            batch.drop_column(name)
