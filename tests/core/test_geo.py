"""Distances, and how far a point lies outside of others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.geo import METRES_A_DEGREE, distance_m, outside_hull_m

# Four corners of some 20 km around 37 degrees north.
SQUARE = [(36.9, 118.9), (36.9, 119.1), (37.1, 119.1), (37.1, 118.9)]

around = st.tuples(st.floats(36.5, 37.5), st.floats(118.5, 119.5))


@pytest.mark.parametrize("point", [(37.0, 119.0), (36.91, 118.91), (36.9, 118.9), (36.9, 119.0)])
def test_what_is_inside_or_on_the_edge_is_not_outside(point: tuple[float, float]) -> None:
    assert outside_hull_m(point, SQUARE) == pytest.approx(0, abs=1)


def test_outside_it_is_as_far_as_the_nearest_edge_or_corner() -> None:
    assert outside_hull_m((37.2, 119.0), SQUARE) == pytest.approx(0.1 * METRES_A_DEGREE, rel=0.01)
    assert outside_hull_m((37.2, 119.2), SQUARE) == pytest.approx(distance_m(37.2, 119.2, 37.1, 119.1), rel=0.01)


@pytest.mark.parametrize("few", [[(37.1, 119.0)], [(37.1, 119.0), (37.1, 119.2)]])
def test_one_point_or_two_have_no_inside(few: list[tuple[float, float]]) -> None:
    assert outside_hull_m((37.0, 119.0), few) == pytest.approx(0.1 * METRES_A_DEGREE, rel=0.01)


def test_of_no_points_nothing_is_known() -> None:
    assert outside_hull_m((37.0, 119.0), []) is None


@given(around, st.lists(around, min_size=1, max_size=12))
def test_no_office_is_outside_its_own_hull_and_nothing_is_further_than_the_nearest(
    point: tuple[float, float], offices: list[tuple[float, float]]
) -> None:
    for office in offices:
        found = outside_hull_m(office, offices)
        assert found is not None
        assert found < 1
    nearest = min(distance_m(*point, *office) for office in offices)
    outside = outside_hull_m(point, offices)
    assert outside is not None
    assert 0 <= outside <= nearest * 1.02 + 1
