"""Notification channels: an alert in a few lines, to where people look. Apprise carries it."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

# DingTalk, Feishu, Lark, WeCom, Bark and e-mail over TLS; those of HOSTED name their own hosts.
SCHEMES = frozenset({"dingtalk", "feishu", "lark", "wecombot", "barks", "mailtos"})
HOSTED = frozenset({"barks", "mailtos"})
# What a channel without events of its own is told of, when the escalation names the channels.
TOLD = frozenset({"alert.raised", "alert.upgraded", "alert.rearmed", "alert.escalated", "alert.bypassed"})

LEVELS = {"red": "红色 RED", "orange": "橙色 ORANGE", "yellow": "黄色 YELLOW", "blue": "蓝色 BLUE"}
WHAT = {
    "alert.raised": "新警报 New alert",
    "alert.upgraded": "警报升级 Alert got worse",
    "alert.rearmed": "警报重新触发 Alert raised again",
    "alert.escalated": "警报无人确认 Nobody has acknowledged",
    "alert.bypassed": "乡镇未按时开阅 A town did not open it in time",
    "alert.acknowledged": "警报已确认 Alert acknowledged",
    "alert.released": "警报已交回 Alert handed back",
    "alert.closed": "警报已关闭 Alert closed",
}


def is_installed() -> bool:
    """Whether Apprise is there: the optional extra `notify`."""
    return find_spec("apprise") is not None


def is_known(url: str) -> bool:
    """Whether Apprise understands the address, and Beacon allows its kind."""
    import apprise  # an optional extra

    return urlsplit(url).scheme.lower() in SCHEMES and bool(apprise.Apprise().add(url))


def host_of(url: str) -> tuple[str, int] | None:
    """The host that the address itself names, to be vetted; None: its service's own."""
    parts = urlsplit(url)
    return (parts.hostname or "", parts.port or 443) if parts.scheme.lower() in HOSTED else None


def text_of(kind: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """Title and text of a message, in Chinese and English; an exercise says so first."""
    mark = "【演练】EXERCISE " if body.get("drill_id") else ""
    what = WHAT.get(kind, kind)
    if "headline" not in body:
        return f"{mark}{what}", f"{mark}{what}"
    level = LEVELS.get(str(body["level"]), str(body["level"]))
    reasons = [str(one["text_zh"]) for one in body.get("reasons", [])[:3]]
    lines = [
        f"{mark}{level} {body['headline']}",
        f"地点 where: {body['node']['name']} ({body['node']['code']})",
        *(f"原因 why: {reason}" for reason in reasons),
        "请登录 Beacon 确认或处置。Sign in to Beacon and acknowledge it.",
    ]
    return f"{mark}{level} {what}", "\n".join(lines)


def notify(url: str, title: str, text: str, seconds: float) -> bool:
    """Send one message to one channel, and wait for it: for a thread. Whether it was taken."""
    import apprise  # an optional extra

    channel = apprise.Apprise()
    return bool(channel.add(url)) and bool(channel.notify(body=text, title=title, timeout=seconds))
