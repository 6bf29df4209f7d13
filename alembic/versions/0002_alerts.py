"""alerts"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "detection_cursors",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_detection_cursors_city_id")),
        sa.PrimaryKeyConstraint("city_id", name=op.f("pk_detection_cursors")),
    )
    op.create_table(
        "drills",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False, comment="the office whose subtree takes part"),
        sa.Column("title", sa.String(length=80), nullable=False),
        sa.Column("pace", sa.Float(), nullable=False, comment="how many times faster than life its deadlines run"),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("ended_at IS NULL OR ended_at >= began_at", name=op.f("ck_drills_order")),
        sa.CheckConstraint("pace >= 1", name=op.f("ck_drills_pace")),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_drills_city_id")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_drills_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_drills")),
    )
    with op.batch_alter_table("drills", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_drills_city_id_began_at"), ["city_id", "began_at"], unique=False)

    op.create_table(
        "receivers",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("url", sa.Text(), nullable=False, comment="a channel's holds its token: never shown again"),
        sa.Column(
            "events",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="types or patterns; none, for a channel: as escalation says",
        ),
        sa.Column("levels", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False, comment="none: every level"),
        sa.Column("drills", sa.Boolean(), nullable=False, comment="hears exercises only, instead of the real only"),
        sa.Column(
            "secrets",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="the newest first; the old with its end",
        ),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True, comment="why it is disabled, or what it has missed"),
        sa.Column("reason_zh", sa.Text(), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "epoch",
            sa.Uuid(),
            nullable=False,
            comment="of the city's log; with seq, how far it has been looked through",
        ),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('webhook', 'channel')", name=op.f("ck_receivers_kind")),
        sa.CheckConstraint("state IN ('active', 'disabled', 'deleted')", name=op.f("ck_receivers_state")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_receivers_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_receivers")),
    )
    op.create_table(
        "roll_calls",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("schedule", sa.String(length=40), nullable=True, comment="of the policy; none: asked by an office"),
        sa.Column("day", sa.Date(), nullable=True, comment="the schedule's"),
        sa.Column("question_zh", sa.Text(), nullable=False),
        sa.Column("question_en", sa.Text(), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False, comment="the subtree that is asked"),
        sa.Column("tiers", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True, comment="when silence was looked for"),
        sa.Column("asked", sa.Integer(), nullable=False),
        sa.Column("drill_id", sa.Uuid(), nullable=True, comment="none: it is real"),
        sa.CheckConstraint("due_at > opened_at", name=op.f("ck_roll_calls_order")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_roll_calls_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_roll_calls")),
        sa.UniqueConstraint("city_id", "schedule", "day", name=op.f("uq_roll_calls_city_id_schedule_day")),
    )
    with op.batch_alter_table("roll_calls", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_roll_calls_city_id_due_at"), ["city_id", "due_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_roll_calls_city_id_opened_at"), ["city_id", "opened_at"], unique=False)

    op.create_table(
        "deliveries",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, comment="the webhook-id, the same over all tries"),
        sa.Column("receiver_id", sa.Uuid(), nullable=False),
        sa.Column(
            "seq", sa.BigInteger(), nullable=True, comment="of the log; none: Beacon's own word, a test or a gap"
        ),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("urgent", sa.Boolean(), nullable=False),
        sa.Column("body", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column(
            "tries_before",
            sa.Integer(),
            nullable=False,
            comment="those made before its last replay began the schedule anew",
        ),
        sa.Column("trying", sa.Boolean(), nullable=False, comment="a try is under way; it counts as lost at next_at"),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(state = 'pending') = (next_at IS NOT NULL)", name=op.f("ck_deliveries_next")),
        sa.CheckConstraint("state = 'pending' OR NOT trying", name=op.f("ck_deliveries_trying")),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'failed')", name=op.f("ck_deliveries_state")),
        sa.ForeignKeyConstraint(
            ["city_id", "receiver_id"],
            ["receivers.city_id", "receivers.id"],
            name=op.f("fk_deliveries_city_id_receiver_id"),
        ),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("city_id", "receiver_id", "seq", name=op.f("uq_deliveries_city_id_receiver_id_seq")),
    )
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deliveries_city_id_at"), ["city_id", "at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_deliveries_city_id_receiver_id_at"), ["city_id", "receiver_id", "at"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_deliveries_city_id_receiver_id_state_next_at"),
            ["city_id", "receiver_id", "state", "next_at"],
            unique=False,
        )

    op.create_table(
        "alert_sightings",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tier", sa.String(length=8), nullable=False),
        sa.Column("carried_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("tier IN ('city', 'town', 'village')", name=op.f("ck_alert_sightings_tier")),
        sa.ForeignKeyConstraint(
            ["city_id", "alert_id"], ["alerts.city_id", "alerts.id"], name=op.f("fk_alert_sightings_city_id_alert_id")
        ),
        sa.PrimaryKeyConstraint("city_id", "alert_id", "version", "tier", name=op.f("pk_alert_sightings")),
    )
    op.create_table(
        "alert_steps",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False, comment="of the alert, with this step"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False, comment="as in the log: alert.acknowledged ..."),
        sa.Column("node_code", sa.String(length=32), nullable=True, comment="who acted; none: a rule"),
        sa.Column("tier", sa.String(length=8), nullable=True, comment="that office's"),
        sa.Column("step", sa.Integer(), nullable=False, comment="of the escalation, after this"),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_zh", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["city_id", "alert_id"], ["alerts.city_id", "alerts.id"], name=op.f("fk_alert_steps_city_id_alert_id")
        ),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_alert_steps_node_code")),
        sa.PrimaryKeyConstraint("city_id", "alert_id", "version", name=op.f("pk_alert_steps")),
    )
    with op.batch_alter_table("alert_steps", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_alert_steps_city_id_node_code_at"), ["city_id", "node_code", "at"], unique=False
        )

    op.create_table(
        "receipts",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True, comment="the HTTP status, where there was one"),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["city_id", "delivery_id"],
            ["deliveries.city_id", "deliveries.id"],
            name=op.f("fk_receipts_city_id_delivery_id"),
        ),
        sa.PrimaryKeyConstraint("city_id", "delivery_id", "number", name=op.f("pk_receipts")),
    )
    op.create_table(
        "roll_call_answers",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("roll_call_id", sa.Uuid(), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=8), nullable=False),
        sa.Column("town_code", sa.String(length=32), nullable=True, comment="on the day it was asked"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("reports", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("answered_by", sa.String(length=32), nullable=True, comment="the office"),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("silent_since", sa.DateTime(timezone=True), nullable=True, comment="found silent; none: it was not"),
        sa.Column("last_heard_at", sa.DateTime(timezone=True), nullable=True, comment="before that; none: never"),
        sa.Column("silent", sa.Boolean(), nullable=False, comment="still, and no later roll call was missed"),
        sa.Column(
            "heard_at", sa.DateTime(timezone=True), nullable=True, comment="heard again, which ended its silence"
        ),
        sa.Column("missed", sa.Integer(), nullable=False, comment="roll calls missed in a row, with this one"),
        sa.Column("alert_id", sa.Uuid(), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'nothing', 'something', 'unable', 'excused')", name=op.f("ck_roll_call_answers_state")
        ),
        sa.CheckConstraint("tier IN ('city', 'town', 'village')", name=op.f("ck_roll_call_answers_tier")),
        sa.ForeignKeyConstraint(
            ["city_id", "alert_id"], ["alerts.city_id", "alerts.id"], name=op.f("fk_roll_call_answers_city_id_alert_id")
        ),
        sa.ForeignKeyConstraint(
            ["city_id", "roll_call_id"],
            ["roll_calls.city_id", "roll_calls.id"],
            name=op.f("fk_roll_call_answers_city_id_roll_call_id"),
        ),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_roll_call_answers_node_code")),
        sa.PrimaryKeyConstraint("city_id", "roll_call_id", "node_code", name=op.f("pk_roll_call_answers")),
    )
    with op.batch_alter_table("roll_call_answers", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_roll_call_answers_city_id_node_code_answered_at"),
            ["city_id", "node_code", "answered_at"],
            unique=False,
        )
        batch_op.create_index(
            "ix_roll_call_answers_city_id_node_code_silent",
            ["city_id", "node_code"],
            unique=False,
            postgresql_where=sa.text("silent"),
            sqlite_where=sa.text("silent = 1"),
        )

    op.create_table(
        "alarms",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=160), nullable=False, comment="what makes it this alarm: it is stored once"),
        sa.Column(
            "rule",
            sa.String(length=16),
            nullable=False,
            comment="ears.c1, ears.c2, ears.c3, cluster or cluster.disease",
        ),
        sa.Column("family", sa.String(length=8), nullable=False),
        sa.Column("hazard", sa.String(length=40), nullable=True, comment="none: the whole family was looked at"),
        sa.Column("node_code", sa.String(length=32), nullable=False, comment="the town counted; of a cluster, a node"),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("observed", sa.Integer(), nullable=False),
        sa.Column("expected", sa.Double(), nullable=True, comment="none: a cluster has a limit only"),
        sa.Column("limit", sa.Double(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("sentence_zh", sa.Text(), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False, comment="the report that made it an alarm"),
        sa.Column(
            "reports",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="of a cluster: the ids of its reports, the earliest first",
        ),
        sa.Column(
            "seen_at", sa.DateTime(timezone=True), nullable=False, comment="when that report's event was observed"
        ),
        sa.Column("lat", sa.Double(), nullable=True, comment="where: the report's place, else its node's"),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=True),
        sa.Column(
            "level", sa.String(length=8), nullable=True, comment="that it gave the incident's alert; none: no alert"
        ),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("drill_id", sa.Uuid(), nullable=True, comment="none: it is real"),
        sa.ForeignKeyConstraint(
            ["city_id", "alert_id"], ["alerts.city_id", "alerts.id"], name=op.f("fk_alarms_city_id_alert_id")
        ),
        sa.ForeignKeyConstraint(
            ["city_id", "incident_id"],
            ["incidents.city_id", "incidents.id"],
            name=op.f("fk_alarms_city_id_incident_id"),
        ),
        sa.ForeignKeyConstraint(
            ["city_id", "report_id"], ["reports.city_id", "reports.id"], name=op.f("fk_alarms_city_id_report_id")
        ),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_alarms_city_id")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_alarms_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_alarms")),
        sa.UniqueConstraint("city_id", "key", name=op.f("uq_alarms_city_id_key")),
    )
    with op.batch_alter_table("alarms", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_alarms_city_id_drill_id_raised_at"), ["city_id", "drill_id", "raised_at"], unique=False
        )

    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "until", sa.DateTime(timezone=True), nullable=True, comment="the acknowledgement lasts until then"
            )
        )
        batch_op.add_column(
            sa.Column(
                "escalation_from",
                sa.DateTime(timezone=True),
                nullable=True,
                comment="what the steps' delays count from",
            )
        )
        batch_op.add_column(
            sa.Column(
                "policy",
                sa.JSON().with_variant(JSONB(), "postgresql"),
                nullable=True,
                comment="the policy it was raised under",
            )
        )
        batch_op.add_column(sa.Column("drill_id", sa.Uuid(), nullable=True, comment="none: it is real"))
        batch_op.add_column(
            sa.Column(
                "origin",
                sa.String(length=10),
                server_default="reports",
                nullable=False,
                comment="reports, silence or detection",
            )
        )
        batch_op.create_index(
            batch_op.f("ix_alerts_city_id_escalation_next_at"), ["city_id", "escalation_next_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_alerts_city_id_until"), ["city_id", "until"], unique=False)

    with op.batch_alter_table("custody", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "bypass_at",
                sa.DateTime(timezone=True),
                nullable=True,
                comment="unless opened by then, the office is bypassed; none: it cannot be, or was",
            )
        )
        batch_op.add_column(sa.Column("opened_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True))
        batch_op.add_column(
            sa.Column(
                "bypassed_at", sa.DateTime(timezone=True), nullable=True, comment="it did not open the report in time"
            )
        )
        batch_op.create_index(batch_op.f("ix_custody_city_id_bypass_at"), ["city_id", "bypass_at"], unique=False)

    with op.batch_alter_table("feed_events", schema=None) as batch_op:
        batch_op.add_column(sa.Column("drill_id", sa.Uuid(), nullable=True, comment="none: it is real"))

    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.add_column(sa.Column("drill_id", sa.Uuid(), nullable=True, comment="none: it is real"))
        batch_op.add_column(
            sa.Column(
                "origin",
                sa.String(length=10),
                server_default="reports",
                nullable=False,
                comment="reports, or silence: nobody reported it",
            )
        )

    with op.batch_alter_table("reports", schema=None) as batch_op:
        batch_op.add_column(sa.Column("drill_id", sa.Uuid(), nullable=True, comment="none: it is real"))
        batch_op.add_column(
            sa.Column(
                "alert_version", sa.Integer(), nullable=True, comment="the first version of the alert that tells of it"
            )
        )
        batch_op.create_index(batch_op.f("ix_reports_city_id_alert_id"), ["city_id", "alert_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_reports_city_id_drill_id_received_at"), ["city_id", "drill_id", "received_at"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("reports", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_reports_city_id_drill_id_received_at"))
        batch_op.drop_index(batch_op.f("ix_reports_city_id_alert_id"))
        batch_op.drop_column("alert_version")
        batch_op.drop_column("drill_id")

    with op.batch_alter_table("incidents", schema=None) as batch_op:
        batch_op.drop_column("origin")
        batch_op.drop_column("drill_id")

    with op.batch_alter_table("feed_events", schema=None) as batch_op:
        batch_op.drop_column("drill_id")

    with op.batch_alter_table("custody", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_custody_city_id_bypass_at"))
        batch_op.drop_column("bypassed_at")
        batch_op.drop_column("acknowledged_at")
        batch_op.drop_column("opened_at")
        batch_op.drop_column("bypass_at")

    with op.batch_alter_table("alerts", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alerts_city_id_until"))
        batch_op.drop_index(batch_op.f("ix_alerts_city_id_escalation_next_at"))
        batch_op.drop_column("origin")
        batch_op.drop_column("drill_id")
        batch_op.drop_column("policy")
        batch_op.drop_column("escalation_from")
        batch_op.drop_column("until")

    with op.batch_alter_table("alarms", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alarms_city_id_drill_id_raised_at"))

    op.drop_table("alarms")
    with op.batch_alter_table("roll_call_answers", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_roll_call_answers_city_id_node_code_silent",
            postgresql_where=sa.text("silent"),
            sqlite_where=sa.text("silent = 1"),
        )
        batch_op.drop_index(batch_op.f("ix_roll_call_answers_city_id_node_code_answered_at"))

    op.drop_table("roll_call_answers")
    op.drop_table("receipts")
    with op.batch_alter_table("alert_steps", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_alert_steps_city_id_node_code_at"))

    op.drop_table("alert_steps")
    op.drop_table("alert_sightings")
    with op.batch_alter_table("deliveries", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_deliveries_city_id_receiver_id_state_next_at"))
        batch_op.drop_index(batch_op.f("ix_deliveries_city_id_receiver_id_at"))
        batch_op.drop_index(batch_op.f("ix_deliveries_city_id_at"))

    op.drop_table("deliveries")
    with op.batch_alter_table("roll_calls", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_roll_calls_city_id_opened_at"))
        batch_op.drop_index(batch_op.f("ix_roll_calls_city_id_due_at"))

    op.drop_table("roll_calls")
    op.drop_table("receivers")
    with op.batch_alter_table("drills", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_drills_city_id_began_at"))

    op.drop_table("drills")
    op.drop_table("detection_cursors")
