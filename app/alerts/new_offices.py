"""Offices that an acknowledgement does not cover: they have sent an urgent report since, and had none then. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

Names = Mapping[str, str]
"""Offices: name by code."""


def uncovered(row: Mapping[str, Any]) -> dict[str, str]:
    """The offices with an urgent report on the alert that its acknowledgement does not cover."""
    covered = set(row["covered"])
    return {code: name for code, name in sorted(row["urgent_offices"].items()) if code not in covered}


def succeeding(row: Mapping[str, Any], today: Mapping[str, str]) -> list[str]:
    """Those of them that are, as offices are `today`, the same as one that is covered: a merge makes no new office."""
    covered = {today.get(code, code) for code in row["covered"]}
    return [code for code in uncovered(row) if today.get(code, code) in covered]


def raised_again_at(rearmed_at: datetime | None, window: timedelta, now: datetime) -> datetime:
    """When such an office raises the alert again: at once, or when the window since the last that did so ends."""
    return now if rearmed_at is None else max(now, rearmed_at + window)


def reason(offices: Names, owner: Mapping[str, Any]) -> dict[str, str]:
    """Why it is raised again: the new offices, and the owner, who is asked first."""
    names, had = list(offices.values()), owner.get("name") or owner["node"]
    return {
        "rule": "alert.new_office",
        "text": f"Raised again: {', '.join(names)} reported it after {had} had acknowledged it.",
        "text_zh": f"重新触发：{had}确认后，{'、'.join(names)}又报告了紧急情况。",
    }
