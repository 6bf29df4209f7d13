"""Events and offices, never people as subjects: a property of the schema."""

import re

import pytest

from app.accounts.models import Account
from app.core.caller import SCOPES
from app.hazards.catalogue import HAZARDS
from app.hazards.figures import FIGURES
from app.tables import metadata

PERSONAL = re.compile(
    r"(first|last|full|real|given|family)_?name|surname|gender|birth|phone|mobile|e_?mail|address|id_?card|passport|"
    r"plate|face|photo|ethnic|religio|belie|politic|opinion|petition|assembl|speech|sentiment|score|watch|profile|"
    r"suspect|person|citizen|resident|media|device"
)


def test_no_table_or_column_describes_a_person() -> None:
    names = [f"{table.name}.{column.name}" for table in metadata.tables.values() for column in table.columns]

    assert [name for name in names if PERSONAL.search(name)] == []
    assert len(names) > 80


def test_an_account_holds_nothing_of_its_person_but_a_username() -> None:
    assert {column.name for column in Account.__table__.columns} == {
        "id",
        "username",
        "password_hash",
        "password_fits",
        "role",
        "node_code",
        "city_id",
        "created_at",
        "disabled_at",
    }


@pytest.mark.parametrize("names", [sorted(HAZARDS), sorted(FIGURES), sorted(SCOPES)])
def test_no_hazard_figure_or_scope_is_about_people_as_subjects(names: list[str]) -> None:
    assert names
    assert [name for name in names if PERSONAL.search(name)] == []


def test_accounts_are_referred_to_only_where_a_report_was_filed_and_where_they_sign_in() -> None:
    referring = {
        table.name for table in metadata.tables.values() if any(column.name == "account_id" for column in table.columns)
    }

    assert referring == {"reports", "tokens", "marks", "codes"}
