"""What a report said of a place or time that cannot be right is kept beside what decides."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

WHY = "what it said of a place or time that cannot be right: the columns hold what decides"


def upgrade() -> None:
    kept = sa.JSON().with_variant(JSONB(), "postgresql")
    op.add_column("reports", sa.Column("given", kept, comment=WHY))
    op.add_column("report_versions", sa.Column("given", kept))


def downgrade() -> None:
    op.drop_column("report_versions", "given")
    op.drop_column("reports", "given")
