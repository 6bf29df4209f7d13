import re
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from app.core.caller import SCOPES, Caller
from app.core.clock import ZONE
from app.core.database import Database
from app.core.times import Time
from app.evaluation import ledger
from app.evaluation.ledger import Period
from app.evaluation.ledger_figures import Entry, figures
from app.evaluation.schemas import WarningLedger, warning_ledger
from app.nodes.models import City

_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_TIME: TypeAdapter[datetime] = TypeAdapter(Time)

NAMES = {
    "raised": ("raised", "触发警报"),
    "carried": ("carried to", "送达"),
    "opened": ("opened by", "开阅"),
    "acknowledged": ("acknowledged by", "确认"),
    "any": ("anyone", "任一单位"),
    "village": ("a village", "村"),
    "town": ("the town", "乡镇"),
    "city": ("the city", "市"),
}


async def warnings(database: Database, *, city: str | None, period: Period) -> WarningLedger:
    """A city's ledger of warning with all its rows; the only city when none is named.

    Raises ValueError with a sentence when it is not clear which.
    """
    async with database.snapshot() as conn:
        known = (await conn.execute(select(City.city_id).order_by(City.city_id))).scalars().all()
        if city is None and len(known) != 1:
            raise ValueError(f"There are {len(known)} cities: name one with --city." if known else "There is no city.")
        city_id = city or known[0]
        if city_id not in known:
            raise ValueError(f"There is no city {city_id}.")
        reader = Caller(city_id=city_id, node=city_id, tier="city", scopes=SCOPES, label="beacon ledger")
        found: list[Entry] = await ledger.entries(conn, caller=reader, period=period)
    return warning_ledger(period, found, figures(found), found, None)


def moment(given: str, *, ends: bool = False) -> datetime:
    """A day where the offices are, which counts whole, or an RFC 3339 time; ValueError with a sentence otherwise."""
    try:
        if _DAY.fullmatch(given):
            day = date.fromisoformat(given) + timedelta(days=ends)
            return datetime.combine(day, time(), ZONE).astimezone(UTC)
        return _TIME.validate_python(given)
    except (ValidationError, ValueError, OverflowError):
        raise ValueError(f"{given} is neither a day (2018-08-20) nor a time with its offset.") from None


def show(found: WarningLedger, console: Console) -> None:
    """The ledger as a table, in English and Chinese."""
    console.print(
        f"Reports at orange or red: {found.reports}, with an alert: {found.alerted}.  "
        f"橙色、红色报告 {found.reports} 份，已触发警报 {found.alerted} 份。",
        highlight=False,
        soft_wrap=True,
    )
    table = Table(title="Seconds from received to  自收到起秒数", title_justify="left")
    table.add_column("")
    for head in ("reports 报告", "not yet 尚无", "p50", "p90", "worst 最慢"):
        table.add_column(head, justify="right")
    for one in found.figures:
        if one.count:
            values = (one.p50_s, one.p90_s, one.worst_s)
            table.add_row(
                _name(one.figure), str(one.count), str(one.missing), *("" if v is None else f"{v:.1f}" for v in values)
            )
    console.print(table)


def drill_id(given: str | None) -> UUID | None:
    """The drill's id; ValueError with a sentence when it is none."""
    try:
        return UUID(given) if given else None
    except ValueError:
        raise ValueError(f"{given} is not the id of a drill.") from None


def _name(figure: str) -> str:
    what, _, whom = figure.partition(".")
    (english, chinese), (by, by_zh) = NAMES[what], NAMES.get(whom, ("", ""))
    # In Chinese an office stands before what it does, but behind what reaches it.
    said = chinese + by_zh if what == "carried" else by_zh + chinese
    return f"{english} {by}".rstrip() + f"  {said}"
