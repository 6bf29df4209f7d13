"""Why a closing was undone is kept with the change of the tree."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("node_changes", sa.Column("reason", sa.Text(), comment="why a closing was undone"))


def downgrade() -> None:
    op.drop_column("node_changes", "reason")
