from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from app.demo.desk import LEVELS, Desk, Event
from app.demo.findings import BYPASSED, is_silence
from app.demo.show import Show

CHINA = timezone(timedelta(hours=8))
STYLES = {
    "red": "bold white on red",
    "orange": "black on dark_orange",
    "yellow": "black on yellow",
    "blue": "white on blue",
}
LEVEL_ZH = {"red": "红", "orange": "橙", "yellow": "黄", "blue": "蓝", "routine": "一般"}
STATES = {"raised": "待确认 raised", "acknowledged": "已确认 acknowledged", "closed": "已关闭 closed"}
EVENT_LINES = 6
FRAME_LINES = 14
FOUND_LINES = 6


def screen(show: Show, *, height: int) -> RenderableType:
    """The city's desk at this moment, to fit a terminal of `height` lines."""
    desk = show.desk
    alerts = desk.open_alerts()
    found = findings(show)[:FOUND_LINES]
    shown = alerts[: max(3, height - FRAME_LINES - EVENT_LINES - len(found))]
    return Group(_head(show, alerts, found), _alerts(desk, shown, len(alerts)), _latest(desk))


def event_line(show: Show, event: Event) -> str:
    """One change of one alert in one line, for a log or a pipe."""
    alert = event.alert
    line = (
        f"{_script(show.tally.clock)}  {LEVEL_ZH.get(alert['level'], '')} {alert['level']:<7} {event.type:<20} "
        f"{show.desk.place(alert)}  {alert['headline']}  (报告 reports: {alert['reports']})"
    )
    if event.type == "alert.bypassed":
        line += "  " + " ".join(
            f"{one['text_zh']} {one['text']}" for one in alert["reasons"] if one["rule"] == BYPASSED
        )
    if event.type == "alert.closed" and is_silence(alert):
        line += f"  恢复联系 heard again: {alert['close_reason']}"
    return line


def findings(show: Show) -> list[str]:
    """The towns that were bypassed and the villages that were silent, a line each, by the script's clock."""
    lines = []
    for town in show.findings.bypassed.values():
        count = len(town.alerts)
        lines.append(
            f"越级 Bypassed: {show.name(town.town)} {_script(town.at)}，未按时开阅，转市级处置 "
            f"left its reports unopened, the city acts；警报 alerts {count}"
        )
    for one in show.findings.silent.values():
        until = f"恢复 heard again {_script(one.heard)}" if one.heard else "仍无消息 not heard yet"
        times = f"自 since {_script(one.since)}，发现 found {_script(one.found)}"
        lines.append(f"失联 Silent: {show.name(one.node)} {times}，{until}")
    return lines


def summary(show: Show, seconds: float) -> list[str]:
    """What the night came to, in lines of both languages."""
    tally, desk, acts = show.tally, show.desk, show.acts
    delays = sorted(show.carried_after().values())
    levels = "  ".join(f"{LEVEL_ZH[level]} {level} {tally.levels[level]}" for level in (*LEVELS, "routine"))
    statuses = ", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items()))
    city = acts.taken["city"]
    lines = [
        f"演练结束，用时 {seconds:.1f} 秒。 The exercise is over, in {seconds:.1f} s.",
        f"报告 Reports: 发出 sent {tally.total}，已答复 answered {tally.answered} ({statuses})，"
        f"重复 replayed {tally.replays}，重试 tried again {tally.retries}",
        f"级别 Levels: {levels}；隐去个人标识 identifiers masked {tally.masked}",
        f"紧急报告 Urgent reports (red, orange): {tally.urgent}；所属警报 their alerts: {len(tally.raised)}",
        f"市级轮询所见 Seen by the city's poll: 警报 alerts {len(delays)}，未见 missed {len(show.missed())}，"
        f"变更 changes {desk.changes}，轮询 polls {desk.polls}，重列 lists again {desk.relists}",
    ]
    if delays:
        lines.append(
            "从答复 201 到首次轮询送达 From the answer 201 to the first poll that carried the alert: "
            f"p50 {delays[(len(delays) - 1) // 2]:.3f} s，最慢 worst {delays[-1]:.3f} s"
        )
    lines.append(
        f"确认 Acknowledged: 镇街 by towns {acts.taken.total() - city}，市级 by the city {city}，"
        f"他人在先 somebody was first {acts.late}"
    )
    lines += findings(show)
    lines += _score(show)
    if show.keys.left:
        lines.append(f"未能撤销的密钥 Keys that could not be revoked: {show.keys.left}")
    lines += [f"失败 Failed: {failure}" for failure in (tally.failures + acts.failures)[:10]]
    lines += [f"未达成 Not achieved: {line}" for line in show.lacking()]
    return lines


def print_lines(console: Console, lines: list[str]) -> None:
    """Print as it is: no markup, no highlighting, no folding."""
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _score(show: Show) -> list[str]:
    score = show.drill.score
    if score is None:
        return []
    total = "--" if score["total"] is None else score["total"]
    lines = [f"演练评分 Score of the drill: {total} / 100"]
    for part in score["parts"]:
        if part["count"]:
            lines.append(f"  {part['in_time']:>4} / {part['count']:<4} {part['text_zh']} {part['text']}")
    return lines


def _script(moment: datetime | None) -> str:
    """A time of the script."""
    return moment.astimezone(CHINA).strftime("%m-%d %H:%M") if moment else "--"


def _head(show: Show, alerts: list[dict[str, Any]], found: list[str]) -> Panel:
    tally = show.tally
    count = Counter(alert["level"] for alert in alerts)
    top = Text()
    top.append(f" {_script(tally.clock)} ", style="bold reverse")
    for level in LEVELS:
        top.append("  ")
        top.append(f" {LEVEL_ZH[level]} {level} {count[level]} ", style=STYLES[level] if count[level] else "dim")
    below = Text(
        f"报告 reports {tally.answered}/{tally.total}   紧急 urgent {tally.urgent}   重复 replayed {tally.replays}   "
        f"隐去 masked {tally.masked}   重试 retries {tally.retries}   失败 failed {len(tally.failures)}   "
        f"轮询 polls {show.desk.polls}",
        style="dim",
    )
    lines = [Text(line, style="bold", no_wrap=True, overflow="ellipsis") for line in found]
    return Panel(
        Group(top, below, *lines), title="【演练】寿光市值班室 · EXERCISE: the city's desk", border_style="cyan"
    )


def _alerts(desk: Desk, shown: list[dict[str, Any]], total: int) -> Table:
    caption = f"另有 {total - len(shown)} 条 more" if total > len(shown) else None
    table = Table(expand=True, caption=caption, title="未关闭的警报 Open alerts", title_justify="left")
    table.add_column("级别 level", no_wrap=True)
    table.add_column("地点 where", no_wrap=True, ratio=3)
    table.add_column("内容 headline", no_wrap=True, overflow="ellipsis", ratio=6)
    table.add_column("发出 raised", no_wrap=True)
    table.add_column("状态 state", no_wrap=True)
    table.add_column("报告 reports", justify="right", no_wrap=True)
    for alert in shown:
        level = alert["level"]
        table.add_row(
            Text(f" {LEVEL_ZH.get(level, '')} {level} ", style=STYLES.get(level, "")),
            Text(desk.place(alert)),
            Text(alert["headline"]),
            _clock(alert["raised_at"]),
            STATES.get(alert["state"], alert["state"]),
            str(alert["reports"]),
        )
    return table


def _latest(desk: Desk) -> Panel:
    lines = []
    for event in reversed(list(desk.events)[-EVENT_LINES:]):
        line = Text(f"{_clock(event.at)} {event.type:<20} ", no_wrap=True, overflow="ellipsis")
        line.append(f"{event.alert['level']:<7}", style=STYLES.get(event.alert["level"], ""))
        line.append(f" {desk.place(event.alert)}  {event.alert['headline']}")
        lines.append(line)
    return Panel(Group(*lines), title="最近变更 Latest changes", title_align="left", height=EVENT_LINES + 2)


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone(CHINA).strftime("%H:%M:%S")
