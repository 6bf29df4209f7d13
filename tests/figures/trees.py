"""Small trees and statements for roll-up."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from app.figures.rollup import Cells, Merge, Statement, Tree, number
from tests.builders import NOON

VILLAGES = [f"V{index}" for index in range(6)]
TOWNS = ["T0", "T1", "T2"]
TIERS = {"C": "city", **dict.fromkeys(TOWNS, "town"), **dict.fromkeys(VILLAGES, "village")}
HOME = {"C": None, **dict.fromkeys(TOWNS, "C"), **{code: TOWNS[index % 3] for index, code in enumerate(VILLAGES)}}
MINUTES = 100


def tree(
    parents: dict[str, str | None] | None = None, merges: dict[str, Merge] | None = None, **came_with: str
) -> Tree:
    return Tree(parents or HOME, TIERS, merges or {}, came_with)


def merge(into: str, minute: int) -> Merge:
    at = NOON + timedelta(minutes=minute)
    return Merge(into, at.date(), at)


def of(found: Any, *names: str) -> tuple[Any, ...]:
    """Some of what a cell or a total tells."""
    return tuple(getattr(found, name) for name in names)


def said(number_: int, node: str, minute: int = 0, kind: str = "followup", /, **figures: float) -> Statement:
    """Statement number so-and-so of a node, observed so many minutes after noon."""
    at = NOON + timedelta(minutes=minute)
    return Statement(UUID(int=number_), 1, node, kind, at, at, figures)


def values(cells: Cells) -> dict[str, dict[str, float]]:
    """By office and figure: the values alone."""
    return {
        code: {figure: number(figure, cell.amount) for figure, cell in figures.items()}
        for code, figures in cells.items()
    }


def statements(
    nodes: list[str] | None = None, *, kinds: tuple[str, ...] = ("initial", "followup", "final"), latest: int = MINUTES
) -> Any:
    """Lists of statements of any nodes, in any order, with ties in time."""
    figures = st.fixed_dictionaries(
        {},
        optional={
            "dead": st.integers(0, 9),
            "crop_area_lost_ha": st.floats(0, 1e6, allow_nan=False),
            "direct_loss_cny": st.floats(0, 1e12, allow_nan=False),
        },
    )
    one = st.tuples(
        st.sampled_from(nodes or list(TIERS)),
        st.integers(0, latest),
        st.integers(0, 3),
        st.sampled_from(kinds),
        figures,
    )

    def made(raw: list[Any]) -> list[Statement]:
        return [
            Statement(
                UUID(int=index + 1),
                1,
                node,
                kind,
                NOON + timedelta(minutes=minute),
                NOON + timedelta(minutes=minute + late),
                found,
            )
            for index, (node, minute, late, kind, found) in enumerate(raw)
        ]

    return st.lists(one, max_size=25).map(made)


def homes() -> Any:
    """Which town each village stands under."""
    return st.fixed_dictionaries({code: st.sampled_from(TOWNS) for code in VILLAGES}).map(
        lambda found: {"C": None, **dict.fromkeys(TOWNS, "C"), **found}
    )
