from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.database import among
from app.core.geo import Point
from app.nodes.models import TIERS, Node


@cache
def _places(dialect: str) -> Any:
    # The parent of a village is its town, and every node knows its city: one row tells the whole path.
    return select(
        Node.code,
        Node.name,
        Node.tier,
        Node.city_id,
        Node.parent_code,
        Node.opened_on,
        Node.closed_on,
        Node.lat,
        Node.lon,
    ).where(among(dialect, Node.code, "codes"))


@dataclass(frozen=True, slots=True)
class Place:
    """A node with its place in the tree: codes and tiers from the city down to itself."""

    code: str
    name: str
    tier: str
    city_id: str
    town_code: str | None
    path: tuple[str, ...]
    path_tiers: tuple[str, ...]
    opened_on: date
    closed_on: date | None
    lat: float | None = None
    lon: float | None = None


async def places(conn: AsyncConnection, codes: Collection[str]) -> dict[str, Place]:
    """The nodes that exist among `codes`, in one statement."""
    found = {}
    for row in await conn.execute(_places(conn.dialect.name), {"codes": sorted(codes)}):
        path: tuple[str, ...]
        town: str | None
        if row.tier == "city":
            path, town = (row.code,), None
        elif row.tier == "town":
            path, town = (row.city_id, row.code), row.code
        else:
            path, town = (row.city_id, row.parent_code, row.code), row.parent_code
        found[row.code] = Place(
            row.code,
            row.name,
            row.tier,
            row.city_id,
            town,
            path,
            TIERS[: len(path)],
            row.opened_on,
            row.closed_on,
            row.lat,
            row.lon,
        )
    return found


async def points(conn: AsyncConnection, city_id: str) -> list[Point]:
    """Where the city's open offices are, of those that have a place."""
    rows = await conn.execute(
        select(Node.lat, Node.lon).where(
            Node.city_id == city_id, Node.closed_on.is_(None), Node.lat.is_not(None), Node.lon.is_not(None)
        )
    )
    return [(lat, lon) for lat, lon in rows if lat is not None and lon is not None]
