"""What cannot be right of a report's place and time: it is kept, marked doubtful, and decides nothing.

The office's own point stands in for a doubtful place, the server's time for a doubtful time. Pure.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.core.geo import Point, distance_m, outside_hull_m
from app.hazards.plausibility import PlausibilityPolicy
from app.intake.submission import Submission
from app.nodes.lookup import Place
from app.reports.views import DOUBT

Doubt = dict[str, str]
"""As a reason: rule (`doubt.` and its code), text, text_zh."""


def judged(one: Submission, place: Place, policy: PlausibilityPolicy, *, offices: Sequence[Point] = ()) -> Submission:
    """The submission as it decides: what is doubtful of it is in `given`, something else stands in its place.

    `offices` are the points of a city's offices; they are asked for only where the report is of the city itself.
    """
    doubts: list[Doubt] = []
    given: dict[str, Any] = {}
    changes: dict[str, Any] = {}
    of_place = _place_doubt(one, place, policy, offices)
    if of_place is not None:
        doubts.append(of_place)
        given |= {"lat": one.lat, "lon": one.lon, "accuracy_m": one.accuracy_m}
        changes |= {"lat": place.lat, "lon": place.lon, "accuracy_m": None}
    for name in ("submitted_at", "observed_at"):
        moment: datetime = getattr(one, name)
        found = time_doubt(name, moment, one.received_at, policy)
        if found is None:
            continue
        given[name] = moment.isoformat()
        changes[name] = one.received_at
        # Where it was not said when it was seen, one clock is doubtful, not two.
        if name == "submitted_at" or one.observed_at != one.submitted_at:
            doubts.append(found)
    return replace(one, **changes, doubts=tuple(doubts), given=given) if doubts else one


def time_doubt(name: str, moment: datetime, now: datetime, policy: PlausibilityPolicy) -> Doubt | None:
    """Why `submitted_at` or `observed_at` cannot be right, when it is `now` at the server; None: it can."""
    what, what_zh = (
        ("the device's clock", "设备时钟") if name == "submitted_at" else ("the time it was seen", "观测时间")
    )
    kind = name.removesuffix("_at")
    if moment > now + policy.ahead:
        return _doubt(
            f"{kind}_ahead", f"It lies ahead: {what} cannot be right. The server's time decides.",
            f"{what_zh}超前，不可能正确，以服务器时间为准。",
        )  # fmt: skip
    if moment < now - policy.behind:
        return _doubt(
            f"{kind}_long_ago",
            f"It lies more than {policy.behind_days:g} days back: {what} cannot be right. The server's time decides.",
            f"{what_zh}早于 {policy.behind_days:g} 天前，不可能正确，以服务器时间为准。",
        )
    return None


def _place_doubt(one: Submission, place: Place, policy: PlausibilityPolicy, offices: Sequence[Point]) -> Doubt | None:
    if one.lat is None or one.lon is None:
        return None
    stands, stands_zh = (
        ("The office's own place decides.", "以单位所在位置为准。")
        if place.lat is not None
        else ("It decides nothing.", "不作判断依据。")
    )
    if one.lat == 0 and one.lon == 0:
        return _doubt(
            "position_zero",
            f"0,0 is what a device without a fix says. {stands}",
            f"0,0 为设备未定位时的值。{stands_zh}",
        )
    most = policy.most_inaccurate_m(place.tier)
    if one.accuracy_m is not None and one.accuracy_m > most:
        return _doubt(
            "position_inaccurate",
            f"It is right to {one.accuracy_m:.0f} m only, for a {place.tier} {most:.0f} m is the most. {stands}",
            f"定位误差达 {one.accuracy_m:.0f} 米，超过允许的 {most:.0f} 米。{stands_zh}",
        )
    away = _away(one.lat, one.lon, place, offices)
    if away is not None and away > policy.furthest_m(place.tier):
        return _doubt(
            "position_far", f"It is {away / 1000:.0f} km away from the office. {stands}",
            f"距单位辖区 {away / 1000:.0f} 公里。{stands_zh}",
        )  # fmt: skip
    return None


def _away(lat: float, lon: float, place: Place, offices: Sequence[Point]) -> float | None:
    """How far from the office, of a city from the hull of its offices; None: it is not known where that is."""
    if place.tier == "city":
        return outside_hull_m((lat, lon), offices)
    if place.lat is None or place.lon is None:
        return None
    return distance_m(lat, lon, place.lat, place.lon)


def _doubt(code: str, text: str, text_zh: str) -> Doubt:
    return {"rule": DOUBT + code, "text": text, "text_zh": text_zh}
