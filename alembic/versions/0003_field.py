"""field"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "node_successions",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("on", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("other", sa.String(length=32), nullable=False, comment="what it was merged into, or split from"),
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.CheckConstraint("kind IN ('merge', 'split')", name=op.f("ck_node_successions_kind")),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_node_successions_city_id")),
        sa.ForeignKeyConstraint(["code"], ["nodes.code"], name=op.f("fk_node_successions_code")),
        sa.ForeignKeyConstraint(["other"], ["nodes.code"], name=op.f("fk_node_successions_other")),
        sa.PrimaryKeyConstraint("code", "on", "kind", name=op.f("pk_node_successions")),
    )
    with op.batch_alter_table("node_successions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_node_successions_city_id_on"), ["city_id", "on"], unique=False)

    op.create_table(
        "quarantine",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, comment="the report's own id"),
        sa.Column("node_code", sa.String(length=32), nullable=False, comment="the node it was written for"),
        sa.Column("desk_code", sa.String(length=32), nullable=False, comment="the office that decides"),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=24), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.Column(
            "body",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="what was said, cleaned and masked",
        ),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False, comment="what triage made of it when it came"),
        sa.Column("hazard", sa.String(length=40), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False, comment="to be decided by"),
        sa.Column("filed_by", sa.String(length=32), nullable=False, comment="the office that sent it"),
        sa.Column("sign_in_id", sa.Uuid(), nullable=False, comment="the account or key that sent it"),
        sa.Column("drill_id", sa.Uuid(), nullable=True, comment="none: it is real"),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by", sa.String(length=32), nullable=True, comment="the office that released or rejected it"),
        sa.Column("note", sa.Text(), nullable=True),
        sa.CheckConstraint("(state = 'held') = (decided_at IS NULL)", name=op.f("ck_quarantine_decided")),
        sa.CheckConstraint("state IN ('held', 'released', 'rejected')", name=op.f("ck_quarantine_state")),
        sa.ForeignKeyConstraint(["desk_code"], ["nodes.code"], name=op.f("fk_quarantine_desk_code")),
        sa.ForeignKeyConstraint(["filed_by"], ["nodes.code"], name=op.f("fk_quarantine_filed_by")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_quarantine_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_quarantine")),
    )
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_quarantine_city_id_desk_code_state_due_at"),
            ["city_id", "desk_code", "state", "due_at"],
            unique=False,
        )
        batch_op.create_index(
            batch_op.f("ix_quarantine_city_id_sign_in_id_state"), ["city_id", "sign_in_id", "state"], unique=False
        )

    op.create_table(
        "incident_steps",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv7: in order of time"),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False, comment="as in the log: incident.merged ..."),
        sa.Column("node_code", sa.String(length=32), nullable=True, comment="who acted; none: a rule"),
        sa.Column("tier", sa.String(length=8), nullable=True, comment="that office's"),
        sa.Column("other_id", sa.Uuid(), nullable=True, comment="the other incident of a merge or split"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["city_id", "incident_id"],
            ["incidents.city_id", "incidents.id"],
            name=op.f("fk_incident_steps_city_id_incident_id"),
        ),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_incident_steps_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_incident_steps")),
    )
    with op.batch_alter_table("incident_steps", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_incident_steps_city_id_incident_id"), ["city_id", "incident_id"], unique=False
        )

    op.create_table(
        "attachments",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False, comment="the slot, named by the sender"),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="of what is sent, in hex"),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="bytes of what is sent"),
        sa.Column("received", sa.BigInteger(), nullable=False, comment="bytes that have arrived"),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("content_type", sa.String(length=40), nullable=True, comment="of what is stored"),
        sa.Column("stored_size", sa.BigInteger(), nullable=True),
        sa.Column("stored_sha256", sa.String(length=64), nullable=True, comment="of what is stored, in hex"),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("store_key", sa.String(length=200), nullable=True, comment="where in the object store"),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("filed_by", sa.String(length=32), nullable=False, comment="the office that sent it"),
        sa.CheckConstraint("state IN ('uploading', 'stored')", name=op.f("ck_attachments_state")),
        sa.ForeignKeyConstraint(
            ["city_id", "report_id"], ["reports.city_id", "reports.id"], name=op.f("fk_attachments_city_id_report_id")
        ),
        sa.PrimaryKeyConstraint("city_id", "report_id", "name", name=op.f("pk_attachments")),
    )
    op.create_table(
        "incident_moves",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv7: in order of time"),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("from_incident", sa.Uuid(), nullable=False),
        sa.Column("to_incident", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["city_id", "report_id"],
            ["reports.city_id", "reports.id"],
            name=op.f("fk_incident_moves_city_id_report_id"),
        ),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_incident_moves")),
    )
    with op.batch_alter_table("incident_moves", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_incident_moves_city_id_from_incident"), ["city_id", "from_incident"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_incident_moves_city_id_report_id"), ["city_id", "report_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_incident_moves_city_id_to_incident"), ["city_id", "to_incident"], unique=False
        )

    op.create_table(
        "report_steps",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv7: in order of time"),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False, comment="as in the log: report.opened ..."),
        sa.Column("node_code", sa.String(length=32), nullable=True, comment="who acted; none: a rule"),
        sa.Column("tier", sa.String(length=8), nullable=True, comment="that office's"),
        sa.Column("to_node", sa.String(length=32), nullable=True, comment="who holds it now"),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["city_id", "report_id"], ["reports.city_id", "reports.id"], name=op.f("fk_report_steps_city_id_report_id")
        ),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_report_steps_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_report_steps")),
    )
    with op.batch_alter_table("report_steps", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_report_steps_city_id_report_id"), ["city_id", "report_id"], unique=False)

    op.create_table(
        "report_versions",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, comment="when this version was received"),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="when the next one was"),
        sa.Column("by", sa.String(length=32), nullable=False, comment="the office that sent it"),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("hazard", sa.String(length=40), nullable=False),
        sa.Column("family", sa.String(length=8), nullable=False),
        sa.Column("urgency", sa.String(length=10), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("certainty", sa.String(length=10), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("reasons", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("accuracy_m", sa.Double(), nullable=True),
        sa.Column("figures", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("masked", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["city_id", "report_id"],
            ["reports.city_id", "reports.id"],
            name=op.f("fk_report_versions_city_id_report_id"),
        ),
        sa.PrimaryKeyConstraint("city_id", "report_id", "version", name=op.f("pk_report_versions")),
    )
    with op.batch_alter_table("custody", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "given_by", sa.String(length=32), nullable=True, comment="the office that returned or forwarded it here"
            )
        )
        batch_op.add_column(sa.Column("note", sa.Text(), nullable=True, comment="that office's question or note"))
        batch_op.add_column(sa.Column("forwarded_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(
            sa.Column("forwarded_to", sa.String(length=32), nullable=True, comment="the office that holds it since")
        )

    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "merged_into",
                sa.Uuid(),
                nullable=True,
                comment="it is an alias of that incident, which has its reports",
            )
        )
        batch_op.add_column(
            sa.Column("assigned_to", sa.String(length=32), nullable=True, comment="the office that leads")
        )
        batch_op.add_column(sa.Column("assigned_due_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("outcome", sa.String(length=16), nullable=True))
        batch_op.add_column(sa.Column("outcome_text", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("outcome_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.create_index(batch_op.f("ix_incidents_city_id_merged_into"), ["city_id", "merged_into"], unique=False)

    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "merged_into", sa.String(length=32), nullable=True, comment="the open node that it is part of since"
            )
        )
        batch_op.create_index(batch_op.f("ix_nodes_merged_into"), ["merged_into"], unique=False)

    with op.batch_alter_table("reports", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "corrected_at", sa.DateTime(timezone=True), nullable=True, comment="when this version came; none: first"
            )
        )
        batch_op.add_column(
            sa.Column("corrected_by", sa.String(length=32), nullable=True, comment="the office that sent this version")
        )


def downgrade() -> None:
    with op.batch_alter_table("reports", schema=None) as batch_op:
        batch_op.drop_column("corrected_by")
        batch_op.drop_column("corrected_at")

    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_nodes_merged_into"))
        batch_op.drop_column("merged_into")

    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_incidents_city_id_merged_into"))
        batch_op.drop_column("outcome_at")
        batch_op.drop_column("outcome_text")
        batch_op.drop_column("outcome")
        batch_op.drop_column("assigned_due_at")
        batch_op.drop_column("assigned_to")
        batch_op.drop_column("merged_into")

    with op.batch_alter_table("custody", schema=None) as batch_op:
        batch_op.drop_column("forwarded_to")
        batch_op.drop_column("forwarded_at")
        batch_op.drop_column("note")
        batch_op.drop_column("given_by")

    op.drop_table("report_versions")
    with op.batch_alter_table("report_steps", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_report_steps_city_id_report_id"))

    op.drop_table("report_steps")
    with op.batch_alter_table("incident_moves", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_incident_moves_city_id_to_incident"))
        batch_op.drop_index(batch_op.f("ix_incident_moves_city_id_report_id"))
        batch_op.drop_index(batch_op.f("ix_incident_moves_city_id_from_incident"))

    op.drop_table("incident_moves")
    op.drop_table("attachments")
    with op.batch_alter_table("incident_steps", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_incident_steps_city_id_incident_id"))

    op.drop_table("incident_steps")
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_quarantine_city_id_sign_in_id_state"))
        batch_op.drop_index(batch_op.f("ix_quarantine_city_id_desk_code_state_due_at"))

    op.drop_table("quarantine")
    with op.batch_alter_table("node_successions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_node_successions_city_id_on"))

    op.drop_table("node_successions")
