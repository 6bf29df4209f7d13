"""Notification channels: an alert in a few lines, to where people look. Apprise carries it."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# DingTalk, Feishu, Lark, WeCom, Bark and e-mail over TLS. All but those of HOSTED send to their services' own hosts.
SCHEMES = frozenset({"dingtalk", "feishu", "lark", "wecombot", "barks", "mailtos"})
HOSTED = frozenset({"barks", "mailtos"})
# Apprise has options that read files, weaken TLS or wait for minutes: what is not named here is refused.
OPTIONS = frozenset({"to", "from", "name", "cc", "bcc", "reply", "smtp", "user", "pass", "mode", "secret", "group"})
TLS_MODES = frozenset({"starttls", "ssl"})

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
    "receiver.disabled": "推送已停用 A receiver was disabled",
    "beacon.test": "测试 Test",
    "beacon.gap": "有事件未送达 Events were missed",
}
_ACT = "请登录 Beacon 确认或处置。Sign in to Beacon and acknowledge it."


def is_installed() -> bool:
    """Whether Apprise is there: the optional extra `notify`."""
    return find_spec("apprise") is not None


def is_known(url: str) -> bool:
    """Whether Apprise understands the address, and Beacon allows its kind and its options."""
    try:
        parts = urlsplit(url)
    except ValueError:
        # A bracket that nothing closes.
        return False
    options = {key.lower(): value for key, value in parse_qsl(parts.query, keep_blank_values=True)}
    return (
        parts.scheme.lower() in SCHEMES
        and options.keys() <= OPTIONS
        and options.get("mode", "starttls") in TLS_MODES
        and _plugin(url) is not None
    )


def host_of(url: str) -> tuple[str, int] | None:
    """The host that a message would be handed to, to be vetted; None: its service's own."""
    if urlsplit(url).scheme.lower() not in HOSTED:
        return None
    plugin = _plugin(url)
    return str(getattr(plugin, "smtp_host", "") or getattr(plugin, "host", "")), int(getattr(plugin, "port", 0) or 443)


def text_of(kind: str, body: Mapping[str, Any]) -> tuple[str, str]:
    """Title and text of a message, in Chinese and English; an exercise says so first."""
    mark = "【演练】EXERCISE " if body.get("drill_id") else ""
    what = WHAT.get(kind, kind)
    if "headline" not in body:
        words = [str(body[key]) for key in ("label", "reason_zh", "reason", "text_zh", "text") if body.get(key)]
        return f"{mark}{what}", "\n".join((f"{mark}{what}", *words))
    level = LEVELS.get(str(body["level"]), str(body["level"]))
    reasons = [f"{one['text_zh']} {one['text']}" for one in body.get("reasons", [])[:3]]
    lines = [
        f"{mark}{level} {body['headline']}",
        f"地点 where: {body['node']['name']} ({body['node']['code']})",
        *(f"原因 why: {reason}" for reason in reasons),
        *([_ACT] if body.get("state") == "raised" else []),
    ]
    return f"{mark}{level} {what}", "\n".join(lines)


def notify(url: str, title: str, text: str, seconds: float) -> bool:
    """Send one message to one channel, and wait about so long for it: for a thread. Whether it was taken."""
    import apprise  # an optional extra

    plugin = _plugin(url)
    if plugin is None:
        return False
    # One wait is for the connection, one for the answer.
    plugin.socket_connect_timeout = plugin.socket_read_timeout = seconds / 2
    channel = apprise.Apprise()
    channel.add(plugin)
    return bool(channel.notify(body=text, title=title, body_format=apprise.NotifyFormat.TEXT))


def _plugin(url: str) -> Any:
    """Apprise's sender for an address, which goes nowhere else and tries once; None: it knows none."""
    import apprise  # an optional extra

    plugin: Any = apprise.Apprise.instantiate(url)
    if plugin is None or isinstance(plugin, apprise.ConfigBase):
        return None
    plugin.redirects = False
    plugin.verify_certificate = True
    plugin.retry = 0
    return plugin
