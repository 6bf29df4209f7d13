"""`beacon field`: an officer's phone as a command, and the example of how to use this package."""

import asyncio
import json
import os
import random
import sqlite3
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer

from app.core.clock import SystemClock
from app.field.courier import Courier
from app.field.inbox import Inbox, happened
from app.field.link import Progress
from app.field.outbox import Outbox
from app.field.session import SignIn
from app.field.store import open_store, server_of
from app.field.wire import FILE_NAME

field = typer.Typer(
    no_args_is_help=True, help="A device in the field: what it has to tell waits here until it is told."
)

CLOCK = SystemClock()
WAITS = 3
LOOKS_SECONDS = 2.0

WORDS = {
    "waiting": "waits 待发",
    "stored": "stored 已入库",
    "held": "held for the desk above 上级待核",
    "conflict": "corrected by somebody else meanwhile 版本冲突",
    "refused": "refused 未受理",
    "superseded": "superseded 已取代",
}
SIGN_IN = "Sign in again: beacon field init. 请重新登录：beacon field init。"

Store = Annotated[Path, typer.Option(help="The device's file.")]
Id = Annotated[str, typer.Argument(help="The report's id.")]
Word = Annotated[str | None, typer.Option()]
Figure = Annotated[list[str] | None, typer.Option("--figure", help="NAME=COUNT, as in trapped=12; several times.")]
Seconds = Annotated[
    float | None,
    typer.Option("--for", min=0, help="Give up after so many seconds: what waits stays."),
]
HERE = Path("field.db")


@field.command()
def init(
    server: Annotated[str, typer.Option(help="As in https://beacon.example.")],
    username: Annotated[str | None, typer.Option(help="Without it, an API key is read from stdin.")] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    code: Annotated[bool, typer.Option("--code", help="Sign in with a one-time code, asked for.")] = False,
    store: Store = HERE,
) -> None:
    """Make the device's file and sign in. Again: another server, another sign-in; what waits is kept."""
    session = SignIn(open_store(store), clock=CLOCK)
    if code and (username is not None or password_stdin):
        raise typer.BadParameter("a code needs neither username nor password", param_hint="--code")
    if code:
        secret = typer.prompt("Code 一次性代码")
    elif username is None or password_stdin:
        secret = _line_in()
    else:
        secret = typer.prompt("Password 密码", hide_input=True)

    async def sign_in() -> str | None:
        async with _client(server) as client:
            try:
                if code:
                    return await session.enrol(client, code=secret)
                if username is not None:
                    return await session.sign_in(client, username=username, password=secret)
                return await session.sign_in_with(client, secret)
            except httpx.UnsupportedProtocol:
                raise
            except httpx.RequestError:
                if code or username is not None:
                    raise
                session.keep_unseen(client, secret)
                return None

    try:
        refused = asyncio.run(sign_in())
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        refused = f"{server}: no address of a server, as in https://beacon.example. 服务器地址有误。"
    except httpx.RequestError:
        refused = f"{server} does not answer. 无法连接服务器。"
    if refused is not None:
        _refuse(refused)


@field.command()
def report(
    hazard: Annotated[str, typer.Option(help="As in flood.river; GET /v1/hazards lists them.")],
    urgency: Word = None,
    severity: Word = None,
    certainty: Word = None,
    summary: Word = None,
    description: Word = None,
    node: Annotated[str | None, typer.Option(help="An office below; the sign-in's own by default.")] = None,
    drill: Annotated[str | None, typer.Option(help="Id of a drill; without it, it is real.")] = None,
    figure: Figure = None,
    urgent: Annotated[
        bool, typer.Option("--urgent", help="Before all else: a tiny first packet, then the rest.")
    ] = False,
    store: Store = HERE,
) -> None:
    """Keep a report for sending, and print its id. It is on the disk when this returns."""
    said = _said(urgency, severity, certainty, summary, description, figure)
    whole = {"hazard": hazard, **said, "node": node, "drill_id": drill}
    given = {key: value for key, value in whole.items() if value is not None}
    with _room(store):
        print(Outbox(open_store(store), clock=CLOCK).put(given, urgent=urgent, tiny_first=urgent))


@field.command()
def correct(
    report_id: Id,
    hazard: Word = None,
    urgency: Word = None,
    severity: Word = None,
    certainty: Word = None,
    summary: Word = None,
    description: Word = None,
    figure: Figure = None,
    onto_server: Annotated[
        bool, typer.Option("--onto-server", help="Change what the server holds: settles a conflict.")
    ] = False,
    urgent: Annotated[bool, typer.Option("--urgent", help="Before all else.")] = False,
    store: Store = HERE,
) -> None:
    """Say it anew, with these changes."""
    outbox = Outbox(open_store(store), clock=CLOCK)
    found = _known(outbox, report_id)
    said = _said(urgency, severity, certainty, summary, description, figure)
    changes = {key: value for key, value in {"hazard": hazard, **said}.items() if value is not None}
    stands = next((one["answer"].get("stored") for one in found["steps"] if one["state"] == "conflict"), None)
    if onto_server and stands is None:
        _refuse("Nothing of this report is in conflict. 该报告没有版本冲突。")
    with _room(store):
        outbox.correct(report_id, changes, onto=stands if onto_server else None, urgent=urgent)


@field.command()
def attach(
    report_id: Id,
    file: Path,
    name: Annotated[str | None, typer.Option(help="The file's own by default, in letters the server takes.")] = None,
    store: Store = HERE,
) -> None:
    """Keep a photo or a recording for a report."""
    outbox = Outbox(open_store(store), clock=CLOCK)
    _known(outbox, report_id)
    try:
        media_type = guess_type(file.name)[0] or "application/octet-stream"
        with _room(store):
            outbox.attach(report_id, name or _name_of(file), file.read_bytes(), media_type=media_type)
    except OSError as error:
        _refuse(f"{file} cannot be read: {error.strerror}.")
    except ValueError as error:
        _refuse(str(error))


@field.command()
def send(
    once: Annotated[bool, typer.Option("--once", help="Do not wait for the link: what cannot go now stays.")] = False,
    seconds: Seconds = None,
    store: Store = HERE,
) -> None:
    """Send until all is answered: 0 it is, 1 something was refused, 3 something still waits."""
    opened = open_store(store)
    outbox = Outbox(opened, clock=CLOCK)

    def courier(client: httpx.AsyncClient) -> Callable[[], Coroutine[Any, Any, Progress]]:
        return Courier(outbox, client, SignIn(opened, clock=CLOCK), CLOCK, random.SystemRandom()).flush

    done = asyncio.run(_until_done(opened, courier, seconds=0 if once else seconds))
    if done.needs_sign_in:
        _refuse(SIGN_IN)
    wrong = [one for one in map(outbox.report, outbox.reports()) if _state(one) in ("refused", "conflict")]
    for one in wrong:
        print(_line(one), file=sys.stderr)
    raise typer.Exit(1 if wrong else WAITS if outbox.waiting() else 0)


@field.command()
def sync(
    drill: Annotated[str | None, typer.Option(help="Id of a drill; without it, the real.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Do not wait for the link.")] = False,
    seconds: Seconds = None,
    store: Store = HERE,
) -> None:
    """Learn what became of reports: 0 all that has happened is here, 3 the link failed first."""
    opened = open_store(store)

    def inbox(client: httpx.AsyncClient) -> Callable[[], Coroutine[Any, Any, Progress]]:
        return Inbox(opened, client, SignIn(opened, clock=CLOCK), CLOCK, random.SystemRandom(), drill=drill).sync

    done = asyncio.run(_until_done(opened, inbox, seconds=0 if once else seconds))
    if done.needs_sign_in or done.refused is not None:
        _refuse(done.refused or SIGN_IN)
    raise typer.Exit(0 if done.retry_at is None else WAITS)


@field.command()
def status(
    report_id: Annotated[str | None, typer.Argument(help="All of one report, as JSON.")] = None,
    store: Store = HERE,
) -> None:
    """What this device has told, what waits, what was answered, and what was heard of it last."""
    opened = open_store(store)
    outbox = Outbox(opened, clock=CLOCK)
    if report_id is not None:
        shown = {**_known(outbox, report_id), "happened": happened(opened, report_id)}
        print(json.dumps(shown, ensure_ascii=False, indent=2))
        return
    for one in map(outbox.report, outbox.reports()):
        last = [change["type"] for change in happened(opened, one["id"])][-1:]
        print("  ".join([_line(one), *last]))


async def _until_done(
    store: sqlite3.Connection,
    work: Callable[[httpx.AsyncClient], Callable[[], Coroutine[Any, Any, Progress]]],
    *,
    seconds: float | None,
) -> Progress:
    """Do it, and again whenever it is time, until nothing is left to do or the seconds are over."""
    server = server_of(store)
    if server is None:
        _refuse("This device knows no server yet: beacon field init. 请先运行 beacon field init。")
    until = None if seconds is None else CLOCK.now() + timedelta(seconds=seconds)
    async with _client(server) as client:
        go = work(client)
        while True:
            done = await go()
            if done.needs_sign_in or done.retry_at is None or (until is not None and done.retry_at > until):
                return done
            # Another process may have taken something urgent meanwhile: to look costs one read of the file.
            await asyncio.sleep(min(LOOKS_SECONDS, _seconds_until(done.retry_at)))


def _seconds_until(moment: datetime) -> float:
    return max(0.0, (moment - CLOCK.now()).total_seconds())


def _client(server: str) -> httpx.AsyncClient:
    # The server's words come in the person's language.
    language = "zh" if os.environ.get("LANG", "").startswith("zh") else "en"
    return httpx.AsyncClient(base_url=server, timeout=20, headers={"Accept-Language": language})


def _said(
    urgency: str | None,
    severity: str | None,
    certainty: str | None,
    summary: str | None,
    description: str | None,
    figure: list[str] | None,
) -> dict[str, Any]:
    figures = {}
    for one in figure or []:
        name, _, number = one.partition("=")
        try:
            figures[name] = float(number) if "." in number else int(number)
        except ValueError:
            raise typer.BadParameter(f"{one}: NAME=COUNT, as in trapped=12", param_hint="--figure") from None
    return {
        "urgency": urgency,
        "severity": severity,
        "certainty": certainty,
        "summary": summary,
        "description": description,
        "figures": figures or None,
    }


def _name_of(file: Path) -> str:
    """The file's name in the letters that the server takes: 现场 1.jpg is ___1.jpg."""
    name = "".join(letter if FILE_NAME.fullmatch(f"_{letter}") else "_" for letter in file.name)
    return f"{name[: 64 - len(file.suffix)]}{file.suffix}" if len(name) > 64 else name


@contextmanager
def _room(store: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        _refuse(f"Nothing was kept: {store}: {error}. 未能保存。")


def _line_in() -> str:
    return sys.stdin.readline().rstrip("\r\n")


def _known(outbox: Outbox, report_id: str) -> dict[str, Any]:
    try:
        return outbox.report(report_id)
    except KeyError:
        _refuse(f"There is no report {report_id} on this device. 本机没有此报告。")


def _state(shown: dict[str, Any]) -> str:
    """The state that somebody has to look at first."""
    if shown["state"] in ("refused", "waiting"):
        return str(shown["state"])
    states = [step["state"] for step in shown["steps"] if not _is_made_up_for(step, shown["steps"])]
    return next((one for one in ("refused", "conflict", "waiting") if one in states), str(shown["state"]))


def _is_made_up_for(step: dict[str, Any], steps: list[dict[str, Any]]) -> bool:
    """Whether what was refused came another way later: a correction by the next, a file under its name again."""
    after = steps[steps.index(step) + 1 :]
    same = [one for one in after if (one["kind"] == "attachment") == (step["kind"] == "attachment")]
    return step["state"] == "refused" and any(
        one["state"] in ("stored", "held", "waiting") and one["name"] == step["name"] for one in same
    )


def _line(shown: dict[str, Any]) -> str:
    """A report on one line, with the server's words when it was not taken."""
    steps = shown["steps"]
    wrong = [step for step in steps if step["state"] in ("refused", "conflict") and not _is_made_up_for(step, steps)]
    answered = [step["answer"] for step in wrong]
    detail = answered[-1].get("detail", "") if answered else ""
    body = shown["body"]
    said = body.get("summary") or body["hazard"]
    return "  ".join(part for part in (shown["id"], WORDS[_state(shown)], said, detail) if part)


def _refuse(line: str) -> NoReturn:
    print(line, file=sys.stderr)
    raise typer.Exit(1)
