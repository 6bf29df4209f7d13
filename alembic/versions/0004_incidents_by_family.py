"""Incidents are looked up by family; when a report was released."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Incidents are looked up by their family: hazard@node becomes family@node, hazard@cell family@cell.
# As the catalogue was on the day of this revision.
FAMILIES = {
    "natural": [
        "flood.river",
        "flood.flash",
        "flood.waterlogging",
        "flood.reservoir",
        "flood.embankment",
        "dam.breach",
        "weather.rainstorm",
        "weather.typhoon",
        "weather.wind",
        "weather.hail",
        "weather.snow",
        "weather.heat",
        "weather.drought",
        "weather.lightning",
        "coast.surge",
        "earth.quake",
        "earth.landslide",
        "earth.collapse",
        "fire.forest",
        "pest.crop",
    ],
    "accident": [
        "fire.building",
        "fire.school",
        "explosion.gas",
        "traffic.road",
        "traffic.water",
        "work.mine",
        "work.site",
        "chemical.spill",
        "building.collapse",
        "pollution.water",
        "pollution.air",
    ],
    "health": [
        "disease.human",
        "disease.animal",
        "poisoning.food",
        "poisoning.gas",
    ],
    "safety": [
        "ordnance.found",
        "crush.crowd",
        "animal.dangerous",
    ],
    "service": [
        "service.water",
        "service.power",
        "service.gas",
        "service.heating",
        "service.telecom",
        "contact.lost",
        "road.blocked",
        "service.wages",
        "service.land",
    ],
}


def upgrade() -> None:
    op.create_table(
        "node_changes",
        sa.Column("city_id", sa.String(length=32), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False, comment="UUIDv7: in order of time"),
        sa.Column("code", sa.String(length=32), nullable=False),
        sa.Column(
            "kind", sa.String(length=12), nullable=False, comment="created, renamed, moved, closed, merged, reopened"
        ),
        sa.Column("old_parent", sa.String(length=32), nullable=True, comment="what it stood under before"),
        sa.Column("on", sa.Date(), nullable=False, comment="the day from which it holds"),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False, comment="when it was recorded"),
        sa.ForeignKeyConstraint(["city_id"], ["cities.city_id"], name=op.f("fk_node_changes_city_id")),
        sa.ForeignKeyConstraint(["code"], ["nodes.code"], name=op.f("fk_node_changes_code")),
        sa.PrimaryKeyConstraint("city_id", "id", name=op.f("pk_node_changes")),
    )
    with op.batch_alter_table("node_changes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_node_changes_code_at"), ["code", "at"], unique=False)

    with op.batch_alter_table("attachments", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_attachments_city_id_state_begun_at"), ["city_id", "state", "begun_at"], unique=False
        )

    with op.batch_alter_table("custody", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "acknowledge_by",
                sa.DateTime(timezone=True),
                nullable=True,
                comment="once opened: to be taken on by then",
            )
        )
        batch_op.create_index(
            "ix_custody_city_id_due_at_waiting",
            ["city_id", "due_at", "report_id", "node_code"],
            unique=False,
            postgresql_where=sa.text("state IN ('received', 'opened')"),
            sqlite_where=sa.text("state IN ('received', 'opened')"),
        )

    with op.batch_alter_table("incident_steps", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "kept",
                sa.JSON().with_variant(JSONB(), "postgresql"),
                nullable=True,
                comment="of a merge: what undoes it exactly",
            )
        )

    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "report_id",
                sa.Uuid(),
                nullable=True,
                comment="the report that it corrects; none: it is a report itself",
            )
        )
        batch_op.add_column(
            sa.Column("base_version", sa.Integer(), nullable=True, comment="the version that it corrects")
        )
        batch_op.create_index(batch_op.f("ix_quarantine_city_id_report_id"), ["city_id", "report_id"], unique=False)

    with op.batch_alter_table("reports", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "released_at",
                sa.DateTime(timezone=True),
                nullable=True,
                comment="when its desk released it from quarantine; none: it never was there",
            )
        )
    _rekey()


def downgrade() -> None:
    _rekey_back()
    with op.batch_alter_table("reports", schema=None) as batch_op:
        batch_op.drop_column("released_at")

    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_quarantine_city_id_report_id"))
        batch_op.drop_column("base_version")
        batch_op.drop_column("report_id")

    with op.batch_alter_table("incident_steps", schema=None) as batch_op:
        batch_op.drop_column("kept")

    with op.batch_alter_table("custody", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_custody_city_id_due_at_waiting",
            postgresql_where=sa.text("state IN ('received', 'opened')"),
            sqlite_where=sa.text("state IN ('received', 'opened')"),
        )
        batch_op.drop_column("acknowledge_by")

    with op.batch_alter_table("attachments", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_attachments_city_id_state_begun_at"))

    with op.batch_alter_table("node_changes", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_node_changes_code_at"))

    op.drop_table("node_changes")


def _rekey() -> None:
    """Put the family in the place of the hazard. Run twice it changes nothing more: no hazard is called as a family."""
    statement = sa.text(
        "UPDATE incidents SET here = CAST(:family AS VARCHAR) || substr(here, length(hazard) + 1), "
        "near = CAST(:family AS VARCHAR) || substr(near, length(hazard) + 1) "
        "WHERE hazard = :hazard AND substr(here, 1, length(hazard) + 1) = hazard || '@'"
    )
    for family, hazards in FAMILIES.items():
        for hazard in hazards:
            op.execute(statement.bindparams(family=family, hazard=hazard))


def _rekey_back() -> None:
    statement = sa.text(
        "UPDATE incidents SET here = hazard || substr(here, length(CAST(:family AS VARCHAR)) + 1), "
        "near = hazard || substr(near, length(CAST(:family AS VARCHAR)) + 1) "
        "WHERE hazard = :hazard AND substr(here, 1, length(CAST(:family AS VARCHAR)) + 1) "
        "= CAST(:family AS VARCHAR) || '@'"
    )
    for family, hazards in FAMILIES.items():
        for hazard in hazards:
            op.execute(statement.bindparams(family=family, hazard=hazard))
