"""Clusters on worked examples, and what holds for all of them."""

from datetime import timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.detection.cluster import Cluster, Grid, Limits, Sighting, around, linked
from tests.builders import NEIGHBOUR, NOON, THIRD, VILLAGE

FAMILY = Limits(reports=3, nodes=2, radius_m=2000, window=timedelta(hours=24))
DISEASE = Limits(reports=2, nodes=1, radius_m=2000, window=timedelta(days=7))
# One thousandth of a degree of latitude is 6371 km x pi / 180 / 1000 = 111.2 m.
LAT, LON = 36.9, 118.9


def seen(
    number: int, node: str = VILLAGE, *, hours: float = 0, north_m: float | None = 0, located: bool = True
) -> Sighting:
    lat = LAT + north_m / 111_194.9 if located and north_m is not None else None
    return Sighting(UUID(int=number), node, NOON + timedelta(hours=hours), lat, LON if lat is not None else None)


def ids(cluster: Cluster | None) -> list[int]:
    return [one.id.int for one in cluster.members] if cluster else []


def test_three_reports_of_two_nodes_within_two_kilometres_and_a_day_are_a_cluster() -> None:
    one, two, three = seen(1), seen(2, hours=5), seen(3, NEIGHBOUR, hours=10, north_m=1500)

    found = around(three, [one, two], FAMILY)

    assert ids(found) == [1, 2, 3]
    assert found is not None
    assert found.sentence == "3 reports of 2 nodes within 1.5 km and 10.0 hours"
    assert found.sentence_zh == "2 个单位的 3 份报告，相距 1.5 公里、10.0 小时之内"


def test_two_reports_or_one_node_or_too_far_or_too_long_are_none() -> None:
    one, two = seen(1), seen(2, hours=5)

    assert around(seen(3, NEIGHBOUR), [one], FAMILY) is None
    assert around(seen(3), [one, two], FAMILY) is None
    assert around(seen(3, NEIGHBOUR, north_m=2001), [one, two], FAMILY) is None
    assert around(seen(3, NEIGHBOUR, hours=24.1), [one, two], FAMILY) is None
    assert ids(around(seen(3, NEIGHBOUR, north_m=1999, hours=24), [one, two], FAMILY)) == [1, 2, 3]


def test_no_two_members_lie_further_apart_than_the_window() -> None:
    # 20 hours before and 20 after: each near the one in the middle, not near each other.
    early, late = seen(1, NEIGHBOUR, hours=-20), seen(2, THIRD, hours=20)

    assert around(seen(3), [early, late], FAMILY) is None
    assert ids(around(seen(3), [early, late, seen(4, hours=-1)], FAMILY)) == [1, 4, 3]


def test_the_larger_of_two_groups_is_told() -> None:
    group = [seen(1, NEIGHBOUR, hours=-22.5), seen(2, hours=-22)]
    larger = [seen(4, hours=2), seen(5, hours=3), seen(6, NEIGHBOUR, hours=23)]

    assert ids(around(seen(3), [*group, *larger], FAMILY)) == [3, 4, 5, 6]


def test_a_report_without_a_place_is_linked_to_its_own_node_only() -> None:
    nowhere = seen(3, located=False)

    assert ids(around(nowhere, [seen(1), seen(2, located=False)], DISEASE)) == [1, 2, 3]
    assert around(nowhere, [seen(1, NEIGHBOUR), seen(2, NEIGHBOUR)], FAMILY) is None


def test_two_of_a_disease_within_a_week_are_a_cluster() -> None:
    # 6 days and 23 hours apart; then a week and an hour.
    assert ids(around(seen(2, NEIGHBOUR, hours=167, north_m=1900), [seen(1)], DISEASE)) == [1, 2]
    assert around(seen(2, NEIGHBOUR, hours=169), [seen(1)], DISEASE) is None


sightings = st.builds(
    lambda number, node, hours, north, located: seen(number, node, hours=hours, north_m=north, located=located),
    st.integers(1, 10_000),
    st.sampled_from([VILLAGE, NEIGHBOUR, THIRD]),
    st.floats(-40, 40),
    st.floats(-5000, 5000),
    st.booleans(),
)
# An id is one report.
groups = st.lists(sightings, min_size=1, max_size=14, unique_by=lambda one: one.id)
limits = st.sampled_from([FAMILY, DISEASE])


@given(groups, limits)
def test_the_order_of_the_reports_does_not_matter(group: list[Sighting], limits: Limits) -> None:
    centre, others = group[0], group[1:]

    assert around(centre, others, limits) == around(centre, reversed(others), limits)
    assert around(centre, others, limits) == around(centre, [*others, *others, centre], limits)


@given(groups, limits)
def test_a_cluster_keeps_every_one_of_its_limits(group: list[Sighting], limits: Limits) -> None:
    centre = group[0]
    found = around(centre, group[1:], limits)
    near = [one for one in group if linked(centre, one, limits)]

    if found is None:
        for first in near:
            inside = [one for one in near if first.at <= one.at <= first.at + limits.window]
            assert (
                centre not in inside or len(inside) < limits.reports or len({one.node for one in inside}) < limits.nodes
            )
        return
    assert centre in found.members
    assert len(found.members) >= limits.reports
    assert found.nodes == len({one.node for one in found.members}) >= limits.nodes
    assert found.members[-1].at - found.members[0].at <= limits.window
    assert all(linked(centre, one, limits) for one in found.members)
    assert all((one.at, one.id) < (two.at, two.id) for one, two in pairwise(found.members))


@given(groups, limits)
def test_the_grid_finds_what_looking_at_all_finds(group: list[Sighting], limits: Limits) -> None:
    grid = Grid(group)

    for one in group:
        assert grid.around(one, limits) == around(one, group, limits)


def test_the_grid_forgets_what_is_over() -> None:
    grid = Grid([seen(1, hours=-30), seen(2, hours=-1)])

    grid.forget(NOON - timedelta(hours=24))

    assert ids(grid.around(seen(3), DISEASE)) == [2, 3]
