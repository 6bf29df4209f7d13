"""Incidents that may be one: proposals, how far into each city's log reports have been compared, and since when
an incident was observed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    apart = "how far apart their nearest reports are; none: not known"
    why = "why they may be one; of a split, why they are not"
    decider = "the office that merged, dismissed or split"
    at = sa.DateTime(timezone=True)
    op.create_table(
        "proposals",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False, comment="the lesser id of the two"),
        sa.Column("other_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("metres", sa.Double(), nullable=True, comment=apart),
        sa.Column("text", sa.Text(), nullable=False, comment=why),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.Column("proposed_at", at, nullable=False),
        sa.Column("decided_at", at, nullable=True),
        sa.Column("decided_by", sa.String(length=32), nullable=True, comment=decider),
        sa.Column("reason", sa.Text(), nullable=True, comment="that office's"),
        sa.CheckConstraint("state IN ('open', 'accepted', 'dismissed')", name=op.f("ck_proposals_state")),
        sa.ForeignKeyConstraint(
            ["city_id", "incident_id"],
            ["incidents.city_id", "incidents.id"],
            name=op.f("fk_proposals_city_id_incident_id"),
        ),
        sa.ForeignKeyConstraint(
            ["city_id", "other_id"], ["incidents.city_id", "incidents.id"], name=op.f("fk_proposals_city_id_other_id")
        ),
        sa.PrimaryKeyConstraint("city_id", "incident_id", "other_id", name=op.f("pk_proposals")),
    )
    op.create_index(op.f("ix_proposals_city_id_other_id"), "proposals", ["city_id", "other_id"])
    some = sa.text("state = 'open'")
    op.create_index(
        op.f("ix_proposals_city_id_proposed_at"),
        "proposals",
        ["city_id", "proposed_at"],
        postgresql_where=some,
        sqlite_where=some,
    )

    op.create_table(
        "proposal_cursors",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_proposal_cursors_city_id")),
        sa.PrimaryKeyConstraint("city_id", name=op.f("pk_proposal_cursors")),
    )

    comment = "none: written by an older version, as last_observed_at"
    first = sa.Column("first_observed_at", at, nullable=True, comment=comment)
    op.add_column("incidents", first)
    incidents = sa.table(
        "incidents", *map(sa.column, ("city_id", "id", "merged_into", "last_observed_at", "first_observed_at"))
    )
    reports = sa.table("reports", *map(sa.column, ("city_id", "incident_id", "observed_at")))
    earliest = (
        sa.select(sa.func.min(reports.c.observed_at))
        .where(reports.c.city_id == incidents.c.city_id, reports.c.incident_id == incidents.c.id)
        .scalar_subquery()
    )
    op.execute(incidents.update().values(first_observed_at=sa.func.coalesce(earliest, incidents.c.last_observed_at)))


def downgrade() -> None:
    op.drop_column("incidents", "first_observed_at")
    op.drop_table("proposal_cursors")
    op.drop_table("proposals")
