"""Which office left a held report undecided; indexes of merged incidents and of drills' reports hold these alone."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MERGED = "ix_incidents_city_id_merged_into"
OF_DRILL = "ix_reports_city_id_drill_id_received_at"


def upgrade() -> None:
    op.drop_index(MERGED, "incidents")
    some = sa.text("merged_into IS NOT NULL")
    op.create_index(MERGED, "incidents", ["city_id", "merged_into"], postgresql_where=some, sqlite_where=some)

    op.drop_index(OF_DRILL, "reports")
    columns, some = ["city_id", "drill_id", "received_at"], sa.text("drill_id IS NOT NULL")
    op.create_index(OF_DRILL, "reports", columns, postgresql_where=some, sqlite_where=some)

    comment = "with the token: what the pair after it comes of"
    op.add_column("tokens", sa.Column("salt", sa.String(length=64), nullable=True, comment=comment))

    comment = "the office that did not decide in time"
    op.add_column("quarantine", sa.Column("bypassed", sa.String(length=32), nullable=True, comment=comment))
    held = sa.text("state = 'held'")
    op.create_index(
        op.f("ix_quarantine_city_id_due_at"),
        "quarantine",
        ["city_id", "due_at"],
        postgresql_where=held,
        sqlite_where=held,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_quarantine_city_id_due_at"), "quarantine")
    op.drop_column("quarantine", "bypassed")

    op.drop_column("tokens", "salt")

    op.drop_index(OF_DRILL, "reports")
    op.create_index(OF_DRILL, "reports", ["city_id", "drill_id", "received_at"])

    op.drop_index(MERGED, "incidents")
    op.create_index(MERGED, "incidents", ["city_id", "merged_into"])
