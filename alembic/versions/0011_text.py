"""People's text has no limit in the database; how many characters were left out of a report's is counted."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

COLUMNS = (
    ("api_keys", "label", 80),
    ("alerts", "node_name", 80),
    ("alerts", "headline", 140),
    ("receivers", "label", 80),
    ("drills", "title", 80),
    ("incidents", "headline", 140),
    ("nodes", "name", 80),
    ("node_spans", "name", 80),
)


def upgrade() -> None:
    op.add_column(
        "reports",
        sa.Column(
            "cleaned", sa.Integer(), nullable=False, server_default="0", comment="characters left out of its texts"
        ),
    )
    op.add_column("report_versions", sa.Column("cleaned", sa.Integer(), nullable=False, server_default="0"))
    # Masking may lengthen what was typed within a limit. SQLite never held anybody to them.
    if op.get_bind().dialect.name == "postgresql":
        for table, column, length in COLUMNS:
            op.alter_column(table, column, type_=sa.String(), existing_type=sa.String(length))


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, column, length in COLUMNS:
            cut = f"left({column}, {length})"
            op.alter_column(table, column, type_=sa.String(length), existing_type=sa.String(), postgresql_using=cut)
    op.drop_column("report_versions", "cleaned")
    op.drop_column("reports", "cleaned")
