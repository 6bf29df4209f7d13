"""Known devices and one-time codes; what passwords are long enough for; keys that expire and show their last use."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "marks",
        sa.Column("mark_hash", sa.String(length=64), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False, comment="the last sign-in with it"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_marks_account_id")),
        sa.PrimaryKeyConstraint("mark_hash", name=op.f("pk_marks")),
    )
    op.create_index(op.f("ix_marks_account_id"), "marks", ["account_id"])
    op.create_index(op.f("ix_marks_used_at"), "marks", ["used_at"])

    op.create_table(
        "codes",
        sa.Column("code_hash", sa.String(length=64), nullable=False, comment="SHA-256 of its argon2id"),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_codes_account_id")),
        sa.PrimaryKeyConstraint("code_hash", name=op.f("pk_codes")),
        sa.UniqueConstraint("account_id", name=op.f("uq_codes_account_id")),
    )
    op.create_index(op.f("ix_codes_expires_at"), "codes", ["expires_at"])

    comment = "the longest of the least lengths it has; NULL: ten"
    op.add_column("accounts", sa.Column("password_fits", sa.Integer(), nullable=True, comment=comment))
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    comment = "to the minute, written behind"
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True, comment=comment))


def downgrade() -> None:
    op.drop_column("api_keys", "last_used_at")
    op.drop_column("api_keys", "expires_at")
    op.drop_column("accounts", "password_fits")
    op.drop_table("codes")
    op.drop_table("marks")
