"""A report's way through the offices, in words: what the village sees of it, as everybody who may read it does."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from app.core.caller import Caller
from app.nodes import lookup
from app.reports import service
from app.reports.models import Custody, ReportStep
from app.reports.views import StepView

# By type: what is said of a step, in English and Chinese, with the offices' names.
WORDS: Mapping[str, tuple[str, str]] = {
    "report.received": ("{to} holds it.", "{to}已接收。"),
    "report.opened": ("{office} opened it.", "{office}已开阅。"),
    "report.acknowledged": ("{office} took it on.", "{office}已受理。"),
    "report.returned": ("{office} asks {to} back.", "{office}退回{to}并询问。"),
    "report.answered": ("{office} answered {to}.", "{office}已答复{to}。"),
    "report.forwarded": ("{office} passed it on to {to}.", "{office}已转交{to}。"),
    "report.handed_over": (
        "{to} holds it since, in place of {office}.",
        "机构调整后由{to}接替{office}持有。",
    ),
    "report.bypassed": ("{to} left it unopened: the city was told.", "{to}未按时开阅，已越级提请市级。"),
}


async def of_report(conn: AsyncConnection, *, caller: Caller, report_id: UUID) -> list[StepView]:
    """Every step of a report that the caller may read, from the first on; a Problem (404) otherwise."""
    row = await service.readable(conn, caller=caller, report_id=report_id)
    held = (
        await conn.execute(
            select(*Custody.__table__.columns)
            .where(Custody.city_id == caller.city_id, Custody.report_id == report_id)
            .order_by(Custody.since, Custody.tier.desc(), Custody.node_code)
        )
    ).all()
    taken = (
        await conn.execute(
            select(*ReportStep.__table__.columns)
            .where(ReportStep.city_id == caller.city_id, ReportStep.report_id == report_id)
            .order_by(ReportStep.id)
        )
    ).all()
    steps = [
        _step(
            one.type, at=one.at, office=one.node_code, tier=one.tier, to=one.to_node, due_at=one.due_at, note=one.note
        )
        for one in taken
    ]
    for one in held:
        if one.given_by is None:
            # Where it went when it came: the rules of custody say so.
            steps.append(_step("report.received", at=one.since, to=one.node_code, due_at=one.due_at))
        if one.bypassed_at is not None:
            steps.append(_step("report.bypassed", at=one.bypassed_at, to=one.node_code))
    since = {one.node_code: one.since for one in held}
    # An office that still has its custody only passed on what the other had already.
    moved = [
        step
        for step in steps
        if step["type"] == "report.handed_over" and since.get(step["node"], step["at"]) >= step["at"]
    ]
    for step in steps:
        if step["type"] == "report.received":
            step["to"] = _first(step["to"], moved)
    # What happened at one moment stays in its order; before all of it somebody had to have the report.
    steps.sort(key=lambda step: (step["at"], step["type"] != "report.received"))
    codes = {code for step in steps for code in (step["node"], step["to"]) if code is not None}
    names = {code: place.name for code, place in (await lookup.places(conn, codes | {row["node_code"]})).items()}
    return [_view(step, names) for step in steps]


def _first(office: str, moved: Sequence[Mapping[str, Any]]) -> str:
    """Who had what this office has, before offices changed and it was handed over."""
    for step in reversed(moved):
        if step["to"] == office:
            office = step["node"]
    return office


def _step(type: str, *, at: Any, to: str | None, office: str | None = None, **other: Any) -> dict[str, Any]:
    return {"tier": None, "due_at": None, "note": "", **other, "type": type, "at": at, "node": office, "to": to}


def _view(step: dict[str, Any], names: Mapping[str, str]) -> StepView:
    text, text_zh = WORDS[step["type"]]
    said = {"office": names.get(step["node"], ""), "to": names.get(step["to"], "")}
    return StepView(**step, text=text.format(**said), text_zh=text_zh.format(**said))
