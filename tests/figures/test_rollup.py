import random
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.figures.rollup import Cell, Statement, Tree, add_up, exact, number, roll_up
from tests.figures.trees import HOME, MINUTES, TIERS, VILLAGES, homes, of, said, statements, tree, values

FIGURES = ("dead", "crop_area_lost_ha", "direct_loss_cny")


def test_a_later_report_replaces_an_earlier_one_and_is_never_added() -> None:
    cells = roll_up([said(1, "V0", 0, dead=2), said(2, "V0", 5, dead=3), said(3, "V3", 1, dead=1)], tree())

    # V0 and V3 stand under T0.
    assert values(cells) == {"V0": {"dead": 3}, "V3": {"dead": 1}, "T0": {"dead": 4}, "C": {"dead": 4}}
    assert cells["V0"]["dead"].source == "own"
    assert cells["V0"]["dead"].reports == (UUID(int=2),)
    assert cells["C"]["dead"].source == "sum"


def test_a_later_report_that_leaves_a_figure_out_does_not_erase_it_and_zero_does() -> None:
    first = [said(1, "V0", 0, dead=2, missing=4), said(2, "V0", 5, missing=1)]

    assert values(roll_up(first, tree()))["C"] == {"dead": 2, "missing": 1}
    assert values(roll_up([*first, said(3, "V0", 6, dead=0)], tree()))["C"] == {"dead": 0, "missing": 1}


def test_a_figure_nobody_gave_is_absent() -> None:
    assert roll_up([said(1, "V0", dead=0)], tree())["C"].keys() == {"dead"}
    assert roll_up([said(1, "V0")], tree()) == {}
    assert roll_up([], tree()) == {}


def test_what_was_observed_later_counts_though_it_arrived_first() -> None:
    late = [said(1, "V0", 9, dead=5), said(2, "V0", 3, dead=1)]

    assert values(roll_up(late, tree()))["V0"] == {"dead": 5}


def test_a_verified_figure_overrides_the_childrens_sum_and_says_so() -> None:
    cells = roll_up(
        [said(1, "V0", 1, dead=2), said(2, "V3", 2, dead=3), said(3, "T0", 9, "final", dead=4)],
        tree(),
    )

    town = cells["T0"]["dead"]
    assert of(town, "amount", "source", "reports") == (4, "verified", (UUID(int=3),))
    assert of(town, "children_sum", "children_changed_since") == (5, False)
    assert values(cells)["C"] == {"dead": 4}


def test_a_verified_figure_holds_until_a_later_final_of_that_office_and_tells_of_later_news_below() -> None:
    first = [said(1, "V0", 1, dead=2), said(2, "T0", 5, "final", dead=4)]
    after = [*first, said(3, "V0", 7, dead=9), said(4, "T0", 8, dead=6)]

    town = roll_up(after, tree())["T0"]["dead"]
    assert of(town, "amount", "source", "children_sum", "own") == (4, "verified", 9, 6)
    assert town.children_changed_since
    again = roll_up([*after, said(5, "T0", 9, "final", dead=9)], tree())["T0"]["dead"]
    assert of(again, "amount", "reports", "children_changed_since") == (9, (UUID(int=5),), False)


def test_a_verified_figure_overrides_only_what_it_mentions() -> None:
    cells = roll_up([said(1, "V0", 1, dead=2, missing=1), said(2, "T0", 5, "final", dead=4)], tree())

    assert values(cells)["C"] == {"dead": 4, "missing": 1}


def test_what_an_office_said_itself_unverified_stands_beside_its_childrens_sum() -> None:
    alone = roll_up([said(1, "T0", 1, dead=7)], tree())["T0"]["dead"]
    assert of(alone, "amount", "source", "own") == (7, "own", None)

    both = roll_up([said(1, "T0", 1, dead=7), said(2, "V0", 0, dead=2)], tree())["T0"]["dead"]
    assert of(both, "amount", "source", "own") == (2, "sum", 7)


def test_a_village_has_its_latest_word_verified_or_not() -> None:
    final = [said(1, "V0", 1, "final", dead=2)]

    assert roll_up(final, tree())["V0"]["dead"].source == "verified"
    latest = roll_up([*final, said(2, "V0", 2, dead=3)], tree())["V0"]["dead"]
    assert of(latest, "amount", "source") == (3, "own")


def test_a_city_final_overrides_all() -> None:
    cells = roll_up(
        [said(1, "V0", 1, dead=2), said(2, "T1", 1, "final", dead=9), said(3, "C", 3, "final", dead=1)], tree()
    )

    assert values(cells) == {"V0": {"dead": 2}, "T0": {"dead": 2}, "T1": {"dead": 9}, "C": {"dead": 1}}
    assert cells["C"]["dead"].children_sum == 11


@pytest.mark.parametrize(
    ("figure", "given_values", "total"),
    [
        ("crop_area_lost_ha", [0.1, 0.2], 0.3),
        ("direct_loss_cny", [0.1] * 3, 0.3),
        ("direct_loss_cny", [1e12, 0.01], 1_000_000_000_000.01),
        ("crop_area_lost_ha", [1.00004, 1], 2.0),
        ("dead", [1, 2], 3),
    ],
)
def test_measures_are_summed_exactly(figure: str, given_values: list[Any], total: float) -> None:
    raw = [
        said(index + 1, VILLAGES[index], 0, "followup", **{figure: value}) for index, value in enumerate(given_values)
    ]
    found = values(roll_up(raw, tree()))["C"][figure]

    assert found == total
    assert type(found) is type(total)


def test_of_two_versions_of_a_report_the_higher_counts() -> None:
    first = said(1, "V0", 5, dead=2, missing=1)
    second = replace(first, version=2, figures={"dead": 7})

    for raw in ([first, second], [second, first], [second]):
        assert values(roll_up(raw, tree()))["C"] == {"dead": 7}


def test_different_incidents_add() -> None:
    one = roll_up([said(1, "V0", 1, dead=2), said(2, "T0", 2, "final", dead=3)], tree())
    other = roll_up([said(3, "V0", 1, dead=5, missing=0), said(4, "V1", 1, dead=1)], tree())

    totals = add_up([one, other])

    assert totals["C"]["dead"].amount == 9
    assert of(totals["T0"]["dead"], "source", "verified", "incidents") == ("sum", 1, 2)
    assert of(totals["V0"]["dead"], "amount", "source") == (7, "own")
    assert totals["C"]["missing"].incidents == 1
    assert add_up([]) == {}


def model(parents: dict[str, str | None], raw: Sequence[Statement], node: str, figure: str) -> Decimal | None:
    """The rules once more, the plainest way: by sorting and recursion."""
    mine = sorted(
        (one for one in raw if one.node_code == node and figure in one.figures),
        key=lambda one: (one.observed_at, one.submitted_at, one.report_id),
    )
    finals = [one for one in mine if one.kind == "final"]
    below = [model(parents, raw, child, figure) for child, parent in parents.items() if parent == node]
    known = [value for value in below if value is not None]
    if TIERS[node] != "village" and finals:
        return exact(figure, finals[-1].figures[figure])
    if known:
        return sum(known, Decimal(0))
    return exact(figure, mine[-1].figures[figure]) if mine else None


def amount(cells: dict[str, dict[str, Cell]], node: str, figure: str) -> Decimal | None:
    cell = cells.get(node, {}).get(figure)
    return cell.amount if cell else None


@given(statements(), homes(), st.randoms(use_true_random=False), st.data())
def test_every_figure_equals_the_models_whatever_the_order_and_the_repeats(
    raw: list[Statement], parents: dict[str, str | None], shuffle: random.Random, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(raw), max_size=10)) if raw else []
    mixed = [*raw, *again]
    shuffle.shuffle(mixed)

    cells = roll_up(mixed, tree(parents))

    assert cells == roll_up(raw, tree(parents))
    for node in TIERS:
        for figure in FIGURES:
            assert amount(cells, node, figure) == model(parents, raw, node, figure)


@given(statements(), st.integers(0, 9), st.sampled_from(VILLAGES))
def test_a_follow_up_replaces_what_its_village_said(raw: list[Statement], dead: int, village: str) -> None:
    before = roll_up(raw, tree())
    after = roll_up([*raw, said(1000, village, MINUTES + 10, dead=dead)], tree())

    town = HOME[village]
    assert town
    assert after[village]["dead"].amount == dead
    if not (town in before and before[town].get("dead") and before[town]["dead"].source == "verified"):
        siblings = [code for code in VILLAGES if HOME[code] == town and code != village]
        others = sum(amount(before, code, "dead") or 0 for code in siblings)
        assert after[town]["dead"].amount == dead + others
    # Other figures stay.
    for figure in FIGURES[1:]:
        assert amount(after, "C", figure) == amount(before, "C", figure)


@given(statements(), st.sampled_from(["C", "T0"]), st.integers(0, 99))
def test_an_offices_own_final_is_its_figure(raw: list[Statement], office: str, dead: int) -> None:
    cell = roll_up([*raw, said(1000, office, MINUTES + 10, "final", dead=dead)], tree())[office]["dead"]

    below = [model(HOME, raw, child, "dead") for child, parent in HOME.items() if parent == office]
    known = [value for value in below if value is not None]
    assert of(cell, "amount", "source", "reports") == (dead, "verified", (UUID(int=1000),))
    assert cell.children_sum == (sum(known) if known else None)
    assert not cell.children_changed_since


@given(statements(VILLAGES), homes(), homes())
def test_villages_that_move_between_towns_never_change_the_citys_total(
    raw: list[Statement], before: dict[str, str | None], after: dict[str, str | None]
) -> None:
    first, second = roll_up(raw, tree(before)), roll_up(raw, tree(after))

    assert values(first).get("C") == values(second).get("C")
    assert {code: first[code] for code in first if code in VILLAGES} == {
        code: second[code] for code in second if code in VILLAGES
    }


@given(statements())
def test_a_total_never_counts_a_report_twice(raw: list[Statement]) -> None:
    """With weights that are powers of two, the total itself tells which reports are in it."""
    weighed = [
        Statement(one.report_id, 1, one.node_code, one.kind, one.observed_at, one.submitted_at, {"dead": 1 << index})
        for index, one in enumerate(raw)
    ]
    cells = roll_up(weighed, Tree(HOME, TIERS))

    if raw:
        total = int(number("dead", cells["C"]["dead"].amount))
        inside = [one for index, one in enumerate(weighed) if total >> index & 1]
        assert total < 1 << len(raw)
        assert len({one.node_code for one in inside}) == len(inside) >= 1
        # No office stands in a total together with an office above it.
        for one in inside:
            parent = HOME[one.node_code]
            while parent:
                assert parent not in {other.node_code for other in inside}
                parent = HOME[parent]
