"""Which office a code stands for today, and the line of offices above it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from app.core.database import among
from app.nodes.models import Node


@dataclass(frozen=True, slots=True)
class Office:
    """One node, as far as the line above it goes."""

    code: str
    parent_code: str | None
    merged_into: str | None


@dataclass(frozen=True, slots=True)
class Offices:
    """Some nodes with all that they are part of and all above them, as they are today."""

    known: Mapping[str, Office]

    def today(self, code: str) -> str:
        """Return the office that this one is part of today: itself, unless it was merged."""
        seen = {code}
        while (into := self._merged_into(code)) is not None and into not in seen:
            seen.add(into)
            code = into
        return code

    def line(self, code: str) -> tuple[str, ...]:
        """Return the offices from the city down to the one that `code` is part of today."""
        found = [self.today(code)]
        while (above := self._above(found[-1])) is not None and above not in found:
            found.append(above)
        return tuple(reversed(found))

    def line_of_all(self, code: str, others: Collection[str]) -> tuple[str, ...]:
        """Return the line of `code`; where the others are of another town, what the lines have in common."""
        own = self.line(code)
        for other in others:
            if self.line(other)[:2] != own[:2]:
                return own[:1]
        return own

    def _merged_into(self, code: str) -> str | None:
        found = self.known.get(code)
        return found.merged_into if found else None

    def _above(self, code: str) -> str | None:
        found = self.known.get(code)
        return self.today(found.parent_code) if found and found.parent_code else None


async def offices(conn: AsyncConnection, codes: Collection[str]) -> Offices:
    """Read these nodes, what they are part of, and all above them: a statement for each tier."""
    known: dict[str, Office] = {}
    wanted = set(codes)
    while wanted:
        query = select(Node.code, Node.parent_code, Node.merged_into).where(
            among(conn.dialect.name, Node.code, "codes")
        )
        found = [Office(*row) for row in await conn.execute(query, {"codes": sorted(wanted)})]
        known |= {office.code: office for office in found}
        above = {code for office in found for code in (office.parent_code, office.merged_into) if code is not None}
        wanted = above - known.keys()
    return Offices(known)


async def towns(conn: AsyncConnection, codes: Collection[str]) -> dict[str, str | None]:
    """Read the town that each of these, or the office that it is part of today, belongs to; None for the city.

    One statement: what was merged names the open office that it is part of.
    """
    today = aliased(Node)
    query = (
        select(Node.code, today.code.label("today"), today.tier, today.parent_code)
        .join(today, today.code == func.coalesce(Node.merged_into, Node.code))
        .where(among(conn.dialect.name, Node.code, "codes"))
    )
    rows = await conn.execute(query, {"codes": sorted(codes)})
    return {row.code: {"town": row.today, "village": row.parent_code}.get(row.tier) for row in rows}
