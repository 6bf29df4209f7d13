"""first"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cities",
        sa.Column("city_id", sa.String(length=32), nullable=False, comment="the city's own node code"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("city_id", name=op.f("pk_cities")),
    )
    op.create_table(
        "feed_heads",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column(
            "epoch", sa.Uuid(), nullable=False, comment="changes when a backup is restored, so that old cursors expire"
        ),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("kept_from", sa.BigInteger(), nullable=False, comment="the oldest number still kept"),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_feed_heads_city_id")),
        sa.PrimaryKeyConstraint("city_id", name=op.f("pk_feed_heads")),
    )
    op.create_table(
        "nodes",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("parent_code", sa.String(length=32), nullable=True),
        sa.Column("opened_on", sa.Date(), nullable=False),
        sa.Column("closed_on", sa.Date(), nullable=True, comment="first day it no longer exists"),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("population", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("(tier = 'city') = (code = city_id)", name=op.f("ck_nodes_city")),
        sa.CheckConstraint("(tier = 'city') = (parent_code IS NULL)", name=op.f("ck_nodes_parent")),
        sa.CheckConstraint("tier IN ('city', 'town', 'village')", name=op.f("ck_nodes_tier")),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_nodes_city_id")),
        sa.ForeignKeyConstraint(["parent_code"], ["nodes.code"], name=op.f("fk_nodes_parent_code")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_nodes")),
    )
    op.create_index(op.f("ix_nodes_city_id_tier"), "nodes", ["city_id", "tier"], unique=False)
    op.create_index(op.f("ix_nodes_parent_code"), "nodes", ["parent_code"], unique=False)
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False, comment="argon2id, PHC string"),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role IN ('reporter', 'desk', 'supervisor', 'admin')", name=op.f("ck_accounts_role")),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_accounts_city_id")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_accounts_node_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("username", name=op.f("uq_accounts_username")),
    )
    op.create_index(op.f("ix_accounts_node_code"), "accounts", ["node_code"], unique=False)
    op.create_table(
        "activity",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("town_code", sa.String(length=32), nullable=False),
        sa.Column("family", sa.String(length=8), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.Column("last_received_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_activity_node_code")),
        sa.PrimaryKeyConstraint("city_id", "town_code", "family", "node_code", name=op.f("pk_activity")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column(
            "prefix", sa.String(length=16), nullable=False, comment="the key's first characters, to tell keys apart"
        ),
        sa.Column("label", sa.String(length=80), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("scopes", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_api_keys_city_id")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_api_keys_node_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_api_keys_key_hash")),
    )
    op.create_index(op.f("ix_api_keys_node_code"), "api_keys", ["node_code"], unique=False)
    op.create_table(
        "feed_audience",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_feed_audience_node_code")),
        sa.PrimaryKeyConstraint("city_id", "seq", "node_code", name=op.f("pk_feed_audience")),
    )
    op.create_table(
        "feed_events",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "last_of_operation",
            sa.BigInteger(),
            nullable=False,
            comment="the number of the last event of the same operation; answers are cut only there",
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("topic", sa.String(length=16), nullable=False, comment="report, incident, alert ..."),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False, comment="the office whose subtree sees it"),
        sa.Column(
            "body",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="the subject as it was then, without any person",
        ),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_feed_events_node_code")),
        sa.PrimaryKeyConstraint("city_id", "seq", name=op.f("pk_feed_events")),
    )
    op.create_index(op.f("ix_feed_events_city_id_at"), "feed_events", ["city_id", "at"], unique=False)
    op.create_table(
        "incidents",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("hazard", sa.String(length=40), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False, comment="the gravest level any of its reports had"),
        sa.Column("node_code", sa.String(length=32), nullable=False, comment="the node that was heard first"),
        sa.Column("town_code", sa.String(length=32), nullable=True),
        sa.Column("headline", sa.String(length=140), nullable=False),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column(
            "here",
            sa.String(length=80),
            nullable=False,
            comment="hazard@node: what this node's next report is looked up by",
        ),
        sa.Column(
            "near", sa.String(length=80), nullable=True, comment="hazard@cell of the grid: what reports close by are"
        ),
        sa.Column(
            "nodes",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="every node that reported it",
        ),
        sa.Column("reports", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_incidents_state")),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_incidents_city_id")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_incidents_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_incidents")),
    )
    op.create_index(op.f("ix_incidents_city_id_here"), "incidents", ["city_id", "here"], unique=False)
    op.create_index(op.f("ix_incidents_city_id_near"), "incidents", ["city_id", "near"], unique=False)
    op.create_index(op.f("ix_incidents_city_id_opened_at"), "incidents", ["city_id", "opened_at"], unique=False)
    op.create_table(
        "node_spans",
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column("since", sa.Date(), nullable=False),
        sa.Column("until", sa.Date(), nullable=True, comment="first day it no longer held; none: it holds today"),
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("parent_code", sa.String(length=32), nullable=True),
        sa.CheckConstraint("until IS NULL OR until > since", name=op.f("ck_node_spans_order")),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_node_spans_city_id")),
        sa.ForeignKeyConstraint(["code"], ["nodes.code"], name=op.f("fk_node_spans_code")),
        sa.ForeignKeyConstraint(["parent_code"], ["nodes.code"], name=op.f("fk_node_spans_parent_code")),
        sa.PrimaryKeyConstraint("code", "since", name=op.f("pk_node_spans")),
    )
    op.create_index(op.f("ix_node_spans_parent_code_since"), "node_spans", ["parent_code", "since"], unique=False)
    op.create_table(
        "alerts",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.Column("node_name", sa.String(length=80), nullable=False),
        sa.Column(
            "path",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="codes from the city down to the node, when raised",
        ),
        sa.Column(
            "nodes",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="every node that reported the incident: they see it too",
        ),
        sa.Column("hazard", sa.String(length=40), nullable=False),
        sa.Column("headline", sa.String(length=140), nullable=False),
        sa.Column("reasons", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("reports", sa.Integer(), nullable=False),
        sa.Column("raised_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True, comment="to be acknowledged by"),
        sa.Column(
            "owner",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=True,
            comment="the office and username that acknowledged",
        ),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("close_reason", sa.Text(), nullable=True),
        sa.Column("escalation_step", sa.Integer(), nullable=False),
        sa.Column("escalation_next_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(state = 'acknowledged') = (owner IS NOT NULL AND closed_at IS NULL)", name=op.f("ck_alerts_owner")
        ),
        sa.CheckConstraint("state IN ('raised', 'acknowledged', 'closed')", name=op.f("ck_alerts_state")),
        sa.ForeignKeyConstraint(
            ["city_id", "incident_id"],
            ["incidents.city_id", "incidents.id"],
            name=op.f("fk_alerts_city_id_incident_id"),
        ),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_alerts_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_alerts")),
    )
    op.create_index(
        op.f("ix_alerts_city_id_state_raised_at"), "alerts", ["city_id", "state", "raised_at"], unique=False
    )
    op.create_index(
        "uq_alerts_city_id_incident_id_active",
        "alerts",
        ["city_id", "incident_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'closed'"),
        sqlite_where=sa.text("state <> 'closed'"),
    )
    op.create_table(
        "tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column(
            "sign_in_id", sa.Uuid(), nullable=False, comment="all tokens that came of one sign-in; revoked together"
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "used_at", sa.DateTime(timezone=True), nullable=True, comment="a refresh token used twice was stolen"
        ),
        sa.CheckConstraint("kind IN ('access', 'refresh')", name=op.f("ck_tokens_kind")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_tokens_account_id")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_tokens")),
    )
    op.create_index(op.f("ix_tokens_account_id"), "tokens", ["account_id"], unique=False)
    op.create_index(op.f("ix_tokens_expires_at"), "tokens", ["expires_at"], unique=False)
    op.create_index(op.f("ix_tokens_sign_in_id"), "tokens", ["sign_in_id"], unique=False)
    op.create_table(
        "reports",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, comment="made by the device"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False, comment="SHA-256 of what was said, after masking"),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.Column("town_code", sa.String(length=32), nullable=True, comment="the node's town, when received"),
        sa.Column("hazard", sa.String(length=40), nullable=False),
        sa.Column("family", sa.String(length=8), nullable=False),
        sa.Column("urgency", sa.String(length=10), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("certainty", sa.String(length=10), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("reasons", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False, comment="in the world"),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False, comment="by the device's clock"),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False, comment="by the server's clock"),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("lat", sa.Double(), nullable=True),
        sa.Column("lon", sa.Double(), nullable=True),
        sa.Column("accuracy_m", sa.Double(), nullable=True),
        sa.Column("figures", sa.JSON().with_variant(JSONB(), "postgresql"), nullable=False),
        sa.Column("masked", sa.Integer(), nullable=False, comment="personal identifiers masked before storing"),
        sa.Column("incident_id", sa.Uuid(), nullable=False),
        sa.Column("alert_id", sa.Uuid(), nullable=True),
        sa.Column("filed_by", sa.String(length=32), nullable=False, comment="the office that filed it"),
        sa.Column("account_id", sa.Uuid(), nullable=True, comment="seen at the node itself and its parent only"),
        sa.CheckConstraint("kind IN ('initial', 'followup', 'final')", name=op.f("ck_reports_kind")),
        sa.CheckConstraint("level IN ('red', 'orange', 'yellow', 'blue', 'routine')", name=op.f("ck_reports_level")),
        sa.CheckConstraint(
            "level NOT IN ('red', 'orange') OR alert_id IS NOT NULL", name=op.f("ck_reports_urgent_has_alert")
        ),
        sa.ForeignKeyConstraint(
            ["city_id", "alert_id"], ["alerts.city_id", "alerts.id"], name=op.f("fk_reports_city_id_alert_id")
        ),
        sa.ForeignKeyConstraint(
            ["city_id", "incident_id"],
            ["incidents.city_id", "incidents.id"],
            name=op.f("fk_reports_city_id_incident_id"),
        ),
        sa.ForeignKeyConstraint(["filed_by"], ["nodes.code"], name=op.f("fk_reports_filed_by")),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_reports_node_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_reports")),
    )
    op.create_index(op.f("ix_reports_city_id_incident_id"), "reports", ["city_id", "incident_id"], unique=False)
    op.create_index(
        op.f("ix_reports_city_id_node_code_received_at"),
        "reports",
        ["city_id", "node_code", "received_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_reports_city_id_received_at_id"), "reports", ["city_id", "received_at", "id"], unique=False
    )
    op.create_table(
        "custody",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("report_id", sa.Uuid(), nullable=False),
        sa.Column("node_code", sa.String(length=32), nullable=False),
        sa.Column("tier", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('received', 'opened', 'acknowledged', 'forwarded')", name=op.f("ck_custody_state")
        ),
        sa.CheckConstraint("tier IN ('city', 'town', 'village')", name=op.f("ck_custody_tier")),
        sa.ForeignKeyConstraint(
            ["city_id", "report_id"], ["reports.city_id", "reports.id"], name=op.f("fk_custody_city_id_report_id")
        ),
        sa.ForeignKeyConstraint(["node_code"], ["nodes.code"], name=op.f("fk_custody_node_code")),
        sa.PrimaryKeyConstraint("city_id", "report_id", "node_code", name=op.f("pk_custody")),
    )
    op.create_index(
        op.f("ix_custody_city_id_node_code_state_due_at"),
        "custody",
        ["city_id", "node_code", "state", "due_at"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_custody_city_id_node_code_state_due_at"), table_name="custody")
    op.drop_table("custody")
    op.drop_index(op.f("ix_reports_city_id_received_at_id"), table_name="reports")
    op.drop_index(op.f("ix_reports_city_id_node_code_received_at"), table_name="reports")
    op.drop_index(op.f("ix_reports_city_id_incident_id"), table_name="reports")
    op.drop_table("reports")
    op.drop_index(op.f("ix_tokens_sign_in_id"), table_name="tokens")
    op.drop_index(op.f("ix_tokens_expires_at"), table_name="tokens")
    op.drop_index(op.f("ix_tokens_account_id"), table_name="tokens")
    op.drop_table("tokens")
    op.drop_index(
        "uq_alerts_city_id_incident_id_active",
        table_name="alerts",
        postgresql_where=sa.text("state <> 'closed'"),
        sqlite_where=sa.text("state <> 'closed'"),
    )
    op.drop_index(op.f("ix_alerts_city_id_state_raised_at"), table_name="alerts")
    op.drop_table("alerts")
    op.drop_index(op.f("ix_node_spans_parent_code_since"), table_name="node_spans")
    op.drop_table("node_spans")
    op.drop_index(op.f("ix_incidents_city_id_opened_at"), table_name="incidents")
    op.drop_index(op.f("ix_incidents_city_id_near"), table_name="incidents")
    op.drop_index(op.f("ix_incidents_city_id_here"), table_name="incidents")
    op.drop_table("incidents")
    op.drop_index(op.f("ix_feed_events_city_id_at"), table_name="feed_events")
    op.drop_table("feed_events")
    op.drop_table("feed_audience")
    op.drop_index(op.f("ix_api_keys_node_code"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("activity")
    op.drop_index(op.f("ix_accounts_node_code"), table_name="accounts")
    op.drop_table("accounts")
    op.drop_index(op.f("ix_nodes_parent_code"), table_name="nodes")
    op.drop_index(op.f("ix_nodes_city_id_tier"), table_name="nodes")
    op.drop_table("nodes")
    op.drop_table("feed_heads")
    op.drop_table("cities")
