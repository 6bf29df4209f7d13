"""Offices that were merged, under today's borders."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.figures.rollup import Cells, Merge, Statement, Tree, roll_up
from tests.builders import NOON
from tests.figures.trees import HOME, MINUTES, TIERS, TOWNS, VILLAGES, merge, of, said, statements, tree, values

# V0 and V3 stand under T0; V1 and V4 under T1.


def test_two_villages_that_spoke_before_they_were_one_add() -> None:
    cells = roll_up([said(1, "V0", 1, dead=2), said(2, "V3", 2, dead=3)], tree(merges={"V0": merge("V3", 10)}))

    assert values(cells) == {"V3": {"dead": 5}, "T0": {"dead": 5}, "C": {"dead": 5}}
    cell = cells["V3"]["dead"]
    assert (cell.source, cell.merged, [one.int for one in cell.reports]) == ("sum", ("V0",), [1, 2])


def test_once_the_successor_has_spoken_since_the_merge_its_word_is_of_the_whole() -> None:
    raw = [said(1, "V0", 1, dead=2, missing=1), said(2, "V3", 2, dead=3), said(3, "V3", 10, dead=4)]
    cells = roll_up(raw, tree(merges={"V0": merge("V3", 10)}))

    # What it did not speak of is still the predecessor's.
    assert values(cells)["C"] == {"dead": 4, "missing": 1}
    assert of(cells["V3"]["dead"], "source", "merged") == ("own", ())


def test_what_came_late_from_before_the_merge_does_not_speak_for_the_whole() -> None:
    raw = [said(1, "V0", 1, dead=2), said(2, "V3", 9, dead=3)]

    assert values(roll_up(raw, tree(merges={"V0": merge("V3", 10)})))["C"] == {"dead": 5}


def test_a_predecessor_speaks_alone_where_the_successor_never_did() -> None:
    cells = roll_up([said(1, "V0", 1, "final", dead=2)], tree(merges={"V0": merge("V3", 10)}))

    assert of(cells["V3"]["dead"], "amount", "source") == (2, "verified")


def test_each_merge_of_a_chain_is_asked_for_itself() -> None:
    merges = {"V0": merge("V3", 10), "V3": merge("V1", 20)}
    raw = [said(1, "V0", 1, dead=1), said(2, "V3", 2, dead=2), said(3, "V1", 3, dead=4)]

    assert values(roll_up(raw, tree(merges=merges)))["C"] == {"dead": 7}
    # V3 spoke for V0 between the merges; V1 did not yet for V3.
    assert values(roll_up([*raw, said(4, "V3", 15, dead=8)], tree(merges=merges)))["C"] == {"dead": 12}
    assert values(roll_up([*raw, said(4, "V1", 25, dead=8)], tree(merges=merges)))["C"] == {"dead": 8}


def test_under_the_borders_of_then_each_code_stands_for_itself() -> None:
    cells = roll_up([said(1, "V0", 1, dead=2), said(2, "V3", 2, dead=3)], tree())

    assert values(cells)["V0"] == {"dead": 2}
    assert values(cells)["V3"] == {"dead": 3}


# T0 is merged into T1: V0 and V3 come with it.
MOVED = {**HOME, "V0": "T1", "V3": "T1"}
MERGED = Tree(MOVED, TIERS, {"T0": merge("T1", 10)}, {"V0": "T0", "V3": "T0"})


def test_a_merged_towns_verified_figure_holds_for_its_part() -> None:
    raw = [said(1, "V0", 1, dead=2), said(2, "T0", 5, "final", dead=7), said(3, "V1", 1, dead=1)]

    cells = roll_up(raw, MERGED)

    assert values(cells) == {"V0": {"dead": 2}, "V1": {"dead": 1}, "T1": {"dead": 8}, "C": {"dead": 8}}
    assert cells["T1"]["dead"].merged == ("T0",)


def test_a_successor_towns_older_verified_figure_is_of_its_own_part_only() -> None:
    raw = [said(1, "V0", 1, dead=2), said(2, "T1", 5, "final", dead=7), said(3, "V1", 1, dead=1)]

    town = roll_up(raw, MERGED)["T1"]["dead"]

    assert of(town, "amount", "source", "children_sum") == (9, "sum", 1)


def test_a_successor_towns_verified_figure_since_the_merge_is_of_the_whole() -> None:
    raw = [
        said(1, "V0", 1, dead=2),
        said(2, "T0", 5, "final", dead=7),
        said(3, "V1", 1, dead=1),
        said(4, "T1", 10, "final", dead=6),
    ]

    town = roll_up(raw, MERGED)["T1"]["dead"]
    assert of(town, "amount", "source", "children_sum", "merged") == (6, "verified", 3, ())
    assert not town.children_changed_since
    assert roll_up([*raw, said(5, "V3", 13, dead=1)], MERGED)["T1"]["dead"].children_changed_since


def test_an_unverified_word_of_the_successor_town_does_not_hide_what_the_villages_say() -> None:
    raw = [said(1, "V0", 1, dead=2), said(2, "T1", 12, dead=9)]

    town = roll_up(raw, MERGED)["T1"]["dead"]

    assert of(town, "amount", "source", "own") == (2, "sum", 9)


@st.composite
def merging(draw: Any) -> list[Tree]:
    """A tree, and what becomes of it as villages of one town are merged, and whole towns with their villages."""
    parents: dict[str, str | None] = dict(HOME)
    merges: dict[str, Merge] = {}
    came_with: dict[str, str] = {}
    trees = [tree()]
    for step in range(draw(st.integers(1, 5))):
        open_ = [code for code in (*TOWNS, *VILLAGES) if code not in merges]
        code = draw(st.sampled_from(open_))
        others = [
            other
            for other in open_
            if other != code and TIERS[other] == TIERS[code] and trees[-1].above(other) == trees[-1].above(code)
        ]
        if not others:
            continue
        into = draw(st.sampled_from(others))
        merges[code] = merge(into, MINUTES + 10 + step)
        for village in VILLAGES:
            if parents[village] == code and village not in merges:
                parents[village] = into
                came_with.setdefault(village, code)
        trees.append(Tree(dict(parents), TIERS, dict(merges), dict(came_with)))
    return trees


def total(cells: Cells) -> Any:
    return values(cells).get("C")


@given(statements(), merging())
def test_merges_without_new_statements_never_change_the_citys_total(raw: list[Statement], trees: list[Tree]) -> None:
    totals = [total(roll_up(raw, one)) for one in trees]

    assert totals == [totals[0]] * len(totals)


@given(statements(), merging(), st.integers(0, 9))
def test_a_final_of_the_successor_since_the_merge_is_its_figure(
    raw: list[Statement], trees: list[Tree], dead: int
) -> None:
    for code, found in trees[-1].merges.items():
        if found.into in trees[-1].merges:
            continue
        late = said(1000, found.into, MINUTES + 100, "final", dead=dead)

        cells = roll_up([*raw, late], trees[-1])

        assert code not in cells
        assert of(cells[found.into]["dead"], "amount", "source") == (dead, "verified")


def test_a_merge_holds_from_its_moment() -> None:
    at = NOON + timedelta(minutes=10)
    found = Merge("V3", at.date(), at)
    before, after = said(1, "V3", 9, dead=1), said(1, "V3", 10, dead=1)

    assert values(roll_up([said(2, "V0", 1, dead=2), before], tree(merges={"V0": found})))["C"] == {"dead": 3}
    assert values(roll_up([said(2, "V0", 1, dead=2), after], tree(merges={"V0": found})))["C"] == {"dead": 1}
