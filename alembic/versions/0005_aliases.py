"""The index of merged incidents holds these alone: no plan takes it for all of a city's incidents."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

NAME = "ix_incidents_city_id_merged_into"


def upgrade() -> None:
    op.drop_index(NAME, "incidents")
    some = sa.text("merged_into IS NOT NULL")
    op.create_index(NAME, "incidents", ["city_id", "merged_into"], postgresql_where=some, sqlite_where=some)


def downgrade() -> None:
    op.drop_index(NAME, "incidents")
    op.create_index(NAME, "incidents", ["city_id", "merged_into"])
