from datetime import date

import pytest

from app.nodes.csvfile import Row, parse
from app.nodes.soundness import Known, check_tree

DAY = date(2018, 8, 20)
BEFORE = date(2018, 1, 1)
CITY = Known("city", "C", None, BEFORE, None)
TOWN = Known("town", "C", "C", BEFORE, None)


def rows_of(text: str) -> list[Row]:
    parsed = parse(f"code,name,tier,parent_code\n{text}".encode())
    assert parsed.errors == []
    return parsed.rows


def wrong(text: str, known: dict[str, Known] | None = None, refused: tuple[str, ...] = ()) -> list[tuple[int, str]]:
    _, errors = check_tree(rows_of(text), known or {}, on=DAY, today=DAY, refused=refused)
    assert all(error.message and error.message_zh for error in errors)
    return sorted((error.line, error.code) for error in errors)


def test_parents_come_before_their_children_in_whatever_order_they_stand() -> None:
    ordered, errors = check_tree(rows_of("v,V,village,t\nt,T,town,C\nC,City,city,\n"), {}, on=DAY, today=DAY)

    assert [row.code for row in ordered] == ["C", "t", "v"]
    assert errors == []


def test_a_file_may_hang_on_nodes_that_are_there() -> None:
    assert wrong("t2,T,town,C\nv,V,village,t\n", {"C": CITY, "t": TOWN}) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C,City,city,\nC,Again,city,\n", [(3, "code_twice")]),
        ("C,City,city,\nD,Other,city,\n", [(3, "two_roots")]),
        ("C,City,city,\nt,T,town,X\n", [(3, "parent_missing")]),
        ("C,City,city,\nt,T,town,\n", [(3, "parent")]),
        ("C,City,city,D\n", [(2, "parent")]),
        ("C,City,city,\nv,V,village,C\n", [(3, "parent_tier")]),
        ("C,City,city,\nt,T,town,C\nu,U,town,t\n", [(4, "parent_tier")]),
        ("C,City,city,\nt,T,town,t\n", [(3, "cycle")]),
        ("t,T,town,u\nu,U,town,t\nv,V,village,t\n", [(2, "cycle"), (3, "cycle"), (4, "cycle")]),
    ],
)
def test_a_tree_that_cannot_be_is_refused_by_line(text: str, expected: list[tuple[int, str]]) -> None:
    assert wrong(text) == expected


@pytest.mark.parametrize(
    ("text", "known", "expected"),
    [
        ("t,T,village,t2\n", {"t": TOWN, "t2": TOWN}, [(2, "tier_changed")]),
        ("t,T,town,C\n", {"C": CITY, "t": Known("town", "C", "C", BEFORE, DAY)}, [(2, "closed")]),
        ("t,T,town,C\n", {"C": CITY, "t": Known("town", "C", "C", BEFORE, date(2018, 8, 21))}, []),
        ("v,V,village,t\n", {"t": Known("town", "C", "C", BEFORE, date(2018, 9, 1))}, [(2, "parent_closed")]),
        ("v,V,village,t\n", {"t": Known("town", "C", "C", date(2018, 8, 21), None)}, [(2, "date")]),
        ("t,T,town,D\n", {"t": TOWN, "D": Known("city", "D", None, BEFORE, None)}, [(2, "city_changed")]),
        ("t2,T,town,C\nt3,T,town,D\n", {"C": CITY, "D": Known("city", "D", None, BEFORE, None)}, [(3, "two_cities")]),
    ],
)
def test_what_the_database_knows_is_held_against_the_file(
    text: str, known: dict[str, Known], expected: list[tuple[int, str]]
) -> None:
    assert wrong(text, known) == expected


def test_children_of_a_refused_line_are_not_blamed() -> None:
    assert wrong("C,City,city,\nv,V,village,t\n", refused=("t",)) == []


def test_a_long_chain_of_parents_is_judged_in_one_walk() -> None:
    length = 20_000
    chain = [Row(number, f"n{number}", "N", "village", f"n{number - 1}", None, None, None) for number in range(length)]
    chain[0] = Row(0, "n0", "N", "village", f"n{length // 2}", None, None, None)

    _, errors = check_tree(list(reversed(chain)), {}, on=DAY, today=DAY)

    assert {error.code for error in errors} == {"cycle"}
    assert len(errors) == length
