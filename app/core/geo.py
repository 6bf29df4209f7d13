"""Distances on the earth, and the hull of some points. Pure."""

import math
from collections.abc import Iterable

EARTH_M = 6_371_000.0
METRES_A_DEGREE = EARTH_M * math.pi / 180

Point = tuple[float, float]
"""Latitude and longitude in degrees (WGS 84)."""


def distance_m(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Great-circle distance in metres (haversine)."""
    north, other_north = math.radians(lat), math.radians(other_lat)
    half_chord = (
        math.sin((other_north - north) / 2) ** 2
        + math.cos(north) * math.cos(other_north) * math.sin(math.radians(other_lon - lon) / 2) ** 2
    )
    return 2 * EARTH_M * math.asin(math.sqrt(min(1.0, half_chord)))


def outside_hull_m(point: Point, others: Iterable[Point]) -> float | None:
    """How far a point lies outside the convex hull of others, in metres; 0: inside it; None: there are no others.

    Worked out on a plane that touches the earth at the point: within some 100 km it is right to a percent.
    """
    scale = math.cos(math.radians(point[0]))
    flat = sorted(
        {((lon - point[1]) * scale * METRES_A_DEGREE, (lat - point[0]) * METRES_A_DEGREE) for lat, lon in others}
    )
    if not flat:
        return None
    hull = _hull(flat)
    if len(hull) > 2 and all(_turn(hull[at - 1], hull[at], (0.0, 0.0)) >= 0 for at in range(len(hull))):
        return 0.0
    return min(_from_edge(hull[at - 1], hull[at]) for at in range(len(hull)))


def _hull(points: list[Point]) -> list[Point]:
    """The corners, against the clock (Andrew's monotone chain, 1979)."""
    if len(points) < 3:
        return points
    halves = []
    for run in (points, points[::-1]):
        half: list[Point] = []
        for one in run:
            while len(half) > 1 and _turn(half[-2], half[-1], one) <= 0:
                half.pop()
            half.append(one)
        halves.append(half[:-1])
    return halves[0] + halves[1]


def _turn(start: Point, via: Point, end: Point) -> float:
    return (via[0] - start[0]) * (end[1] - start[1]) - (via[1] - start[1]) * (end[0] - start[0])


def _from_edge(start: Point, end: Point) -> float:
    """From the origin to the nearest place of an edge."""
    along = (end[0] - start[0], end[1] - start[1])
    length = along[0] ** 2 + along[1] ** 2
    share = 0.0 if length == 0 else max(0.0, min(1.0, -(start[0] * along[0] + start[1] * along[1]) / length))
    return math.hypot(start[0] + share * along[0], start[1] + share * along[1])
