import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console

from app.accounts import command as accounts_command
from app.accounts.passwords import NO_PASSWORD
from app.alerts import service as alerts
from app.core import backup, migrate
from app.core.clock import SystemClock, start_of
from app.core.database import Database, DatabaseAway
from app.core.errors import Problem
from app.core.logs import configure
from app.core.serving import serve as run_server
from app.core.settings import Settings
from app.demo import command as demo_command
from app.demo import trial as demo_trial
from app.evaluation import command as ledger_command
from app.evaluation import differences, simulation
from app.evaluation import ledger as ledger_of_warning
from app.feed.revocations import Revocations
from app.feed.service import new_epoch
from app.field import command as field_command
from app.hazards.policy import PolicyError, load_policy
from app.nodes import command as nodes_command

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Beacon.")
db = typer.Typer(no_args_is_help=True, help="The database: schema, backup, restore.")
nodes = typer.Typer(no_args_is_help=True, help="The tree of offices.")
accounts = typer.Typer(no_args_is_help=True, help="People's sign-ins.")
keys = typer.Typer(no_args_is_help=True, help="Machines' sign-ins.")
policy = typer.Typer(no_args_is_help=True, help="Levels, deadlines and rules as data.")
for name, group in (("db", db), ("nodes", nodes), ("accounts", accounts), ("keys", keys), ("policy", policy)):
    app.add_typer(group, name=name)
app.add_typer(field_command.field, name="field")

Answer = TypeVar("Answer")
ERR = Console(stderr=True)
AWAY = "The database cannot be reached, or has no tables yet: check BEACON_DATABASE_URL, then run beacon db upgrade."


def refuse(line: str) -> NoReturn:
    """End with exit code 1 and one line on stderr."""
    print(line, file=sys.stderr)
    raise typer.Exit(1)


def _with_database(work: Callable[[Database], Coroutine[Any, Any, Answer]]) -> Answer:
    async def run() -> Answer:
        database = Database(Settings().database_url, pool=1)
        database.before_commit.append(Revocations(SystemClock()).record)
        try:
            return await work(database)
        finally:
            await database.close()

    try:
        return asyncio.run(run())
    except Problem as problem:
        refuse(str(problem.body()["detail"]))
    except ValueError as error:
        refuse(str(error))
    except DatabaseAway:
        refuse(AWAY)


def _with_accounts(work: Callable[[Database], Coroutine[Any, Any, Answer]]) -> Answer:
    # Changes of accounts stand in the log, on stderr: stdout is for what was asked.
    configure(Settings())
    return _with_database(work)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes; SQLite takes one.")] = 1,
    trial: Annotated[
        bool, typer.Option("--trial", help="Prepare a SQLite database with the real tree and demo sign-ins first.")
    ] = False,
) -> None:
    """Serve Beacon."""
    if trial:
        # Somebody looks at a terminal: no lines but the welcome and what goes wrong.
        os.environ.setdefault("BEACON_LOG_JSON", "false")
        os.environ.setdefault("BEACON_LOG_LEVEL", "warning")
        # The demo's deadlines run hundreds of times faster than life.
        os.environ.setdefault("BEACON_TIMERS_POLL_SECONDS", "0.2")
    settings = Settings()
    configure(settings)
    try:
        load_policy(settings.policy_file)
    except PolicyError as error:
        refuse("The policy is wrong: " + " | ".join(error.problems))
    if workers > 1 and Database(settings.database_url).is_sqlite:
        refuse("SQLite is served by one process: use --workers 1, or PostgreSQL.")
    if trial:
        try:
            lines = asyncio.run(demo_trial.prepare(settings, host=host, port=port))
        except ValueError as error:
            refuse(str(error))
        print("\n".join(lines), flush=True)
    run_server("app.main:create_app", host=host, port=port, workers=workers)


@app.command()
def demo(
    url: Annotated[str, typer.Option(help="A running Beacon.")] = "http://127.0.0.1:8000",
    speed: Annotated[str, typer.Option(help="How many times faster than the night, or max.")] = "600",
    username: Annotated[str, typer.Option(help="An admin of the city.")] = demo_trial.ADMIN,
    password: Annotated[str, typer.Option(help="The password of both sign-ins.")] = demo_trial.PASSWORD,
    desk: Annotated[str, typer.Option(help="The city desk whose view is shown.")] = demo_trial.DESK,
    plain: Annotated[bool, typer.Option("--plain", help="Lines instead of a live view.")] = False,
) -> None:
    """Replay the flood night of 19-20 August 2018 over HTTP: an exercise."""
    try:
        factor = 0.0 if speed == "max" else float(speed)
    except ValueError:
        factor = -1.0
    if not 0 <= factor < 1e9 or (factor == 0 and speed != "max"):
        raise typer.BadParameter("a number above 0, or max", param_hint="--speed")
    raise typer.Exit(demo_command.run(url, factor, admin=(username, password), desk=(desk, password), plain=plain))


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the schema to the newest revision."""
    try:
        migrate.upgrade(Settings().database_url)
    except migrate.SchemaError as error:
        refuse(str(error))
    except DatabaseAway:
        refuse(AWAY)


@db.command("check")
def db_check() -> None:
    """Say what the schema lacks; exit 1 when it lacks anything."""
    try:
        found = migrate.check(Settings().database_url)
    except DatabaseAway:
        refuse(AWAY)
    if found:
        refuse("\n".join(found))
    print("The schema is current.")


@db.command("backup")
def db_backup(file: Path) -> None:
    """Write a consistent copy of the database to FILE, also while serving."""
    try:
        backup.backup(Settings().database_url, file)
    except ValueError as error:
        refuse(str(error))
    except DatabaseAway:
        refuse(AWAY)


@db.command("restore")
def db_restore(
    file: Path, force: Annotated[bool, typer.Option("--force", help="Replace what the database holds.")] = False
) -> None:
    """Put a backup in the database's place. Stop the servers first; all cursors given out expire."""
    try:
        backup.restore(Settings().database_url, file, force=force, after=new_epoch)
    except ValueError as error:
        refuse(str(error))
    except DatabaseAway:
        refuse(AWAY)


@nodes.command("import")
def nodes_import(
    file: Path, dry_run: Annotated[bool, typer.Option("--dry-run", help="Check only; store nothing.")] = False
) -> None:
    """Import a CSV of nodes: all of it, or nothing."""
    now = SystemClock().now()
    raise typer.Exit(
        _with_database(
            lambda database: nodes_command.import_file(
                database,
                file,
                dry_run=dry_run,
                now=now,
                console=ERR,
                listeners=[alerts.follow_tree],
            )
        )
    )


Username = Annotated[str, typer.Argument(help="The account's username.")]


@accounts.command("create")
def accounts_create(
    username: Annotated[str, typer.Option()],
    node: Annotated[str, typer.Option(help="Code of the one node the account is at.")],
    role: Annotated[str, typer.Option(help="reporter, desk, supervisor or admin.")],
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    code: Annotated[bool, typer.Option("--code", help="No password: print a one-time code, good for a day.")] = False,
) -> None:
    """Create an account; the password is asked for, or read from stdin, or there is none but a one-time code."""
    if code and password_stdin:
        raise typer.BadParameter("either a code or a password", param_hint="--code")
    password = None
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not code:
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    now = SystemClock().now()
    made = _with_accounts(
        lambda database: accounts_command.create_account(
            database, username=username, node=node, role=role, password=password, now=now
        )
    )
    print(made or f"Created {username} ({role} at {node}).")


@accounts.command("list")
def accounts_list(
    node: Annotated[str | None, typer.Option(help="Only the accounts at this node.")] = None,
) -> None:
    """List accounts: username, role, node, and whether they are in use; separated by tabs."""
    for line in _with_accounts(lambda database: accounts_command.list_accounts(database, node=node)):
        print(line)


@accounts.command("code")
def accounts_code(username: Username) -> None:
    """Print a new one-time code for one more sign-in, good for a day; the code before is void."""
    now = SystemClock().now()
    print(_with_accounts(lambda found: accounts_command.give_code(found, username=username, reset=False, now=now)))


@accounts.command("reset")
def accounts_reset(username: Username) -> None:
    """Forget the password, end all sign-ins, and print a one-time code, good for a day."""
    now = SystemClock().now()
    print(_with_accounts(lambda found: accounts_command.give_code(found, username=username, reset=True, now=now)))


@accounts.command("enable")
def accounts_enable(username: Username) -> None:
    """Enable a disabled account again; its person signs in anew."""
    now = SystemClock().now()
    _with_accounts(lambda found: accounts_command.switch(found, username=username, to="enabled", now=now))
    print(f"Enabled {username}.")


@accounts.command("disable")
def accounts_disable(username: Username) -> None:
    """Disable an account: its sign-ins are good only for handing in what was written before."""
    now = SystemClock().now()
    _with_accounts(lambda found: accounts_command.switch(found, username=username, to="disabled", now=now))
    print(f"Disabled {username}.")


@accounts.command("role")
def accounts_role(username: Username, role: Annotated[str, typer.Argument()]) -> None:
    """Give an account another role; open sign-ins have it at once."""
    now = SystemClock().now()
    row = _with_accounts(lambda found: accounts_command.alter(found, username=username, role=role, now=now))
    print(f"{username} is {row['role']} at {row['node_code']}.{_without(row)}")


@accounts.command("move")
def accounts_move(username: Username, node: Annotated[str, typer.Argument(help="Code of the office.")]) -> None:
    """Move an account to another office of its city; open sign-ins are there at once."""
    now = SystemClock().now()
    row = _with_accounts(lambda found: accounts_command.alter(found, username=username, node=node, now=now))
    print(f"{username} is {row['role']} at {row['node_code']}.")


def _without(row: dict[str, Any]) -> str:
    if row["password_hash"] != NO_PASSWORD:
        return ""
    return " It has no password: print it a code with beacon accounts code."


@keys.command("create")
def keys_create(
    node: Annotated[str, typer.Option(help="Code of the node whose subtree the key sees.")],
    scope: Annotated[list[str], typer.Option(help="May be given several times.")],
    label: Annotated[str, typer.Option(help="What machine it is for.")],
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The first day on which it is refused.")
    ] = None,
) -> None:
    """Create an API key and print it: it is shown this once."""
    now = SystemClock().now()
    until = start_of(expires.date()) if expires else None
    print(
        _with_database(
            lambda database: accounts_command.create_key(
                database, node=node, scopes=scope, label=label, expires_at=until, now=now
            )
        )
    )


@policy.command("check")
def policy_check(file: Path) -> None:
    """Explain what is wrong with a policy; exit 1 when anything is."""
    try:
        load_policy(file)
    except PolicyError as error:
        refuse("\n".join(error.problems))
    print("The policy is sound.")


@policy.command("simulate")
def policy_simulate(
    file: Path,
    since: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The first day of the history.")],
    until: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The last day; now, without it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for machines.")] = False,
) -> None:
    """Replay stored history under the policy in FILE, and print what would have differed. Nothing is changed."""
    begins = simulation.day_begins(since.date())
    ends = simulation.day_begins(until.date() + timedelta(days=1)) if until else SystemClock().now()
    if ends <= begins:
        refuse("The last day lies before the first: exchange --since and --until.")
    found = _with_database(
        lambda database: simulation.simulate(
            database,
            policy=load_policy(file),
            in_force=load_policy(Settings().policy_file),
            since=begins,
            until=ends,
        )
    )
    if as_json:
        print(differences.as_json(found))
    else:
        differences.show(found, Console())


@app.command()
def ledger(
    since: Annotated[str, typer.Option("--from", help="Received at or after: a day, or a time with its offset.")],
    until: Annotated[str, typer.Option("--to", help="Received before that time; a day counts whole.")],
    city: Annotated[str | None, typer.Option(help="Code of the city; not needed where there is one.")] = None,
    drill: Annotated[str | None, typer.Option(help="Id of a drill; without it, the real.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With all rows, for machines.")] = False,
) -> None:
    """Print the ledger of warning: how fast every report at orange or red was warned of."""
    try:
        period = ledger_of_warning.period(
            ledger_command.moment(since), ledger_command.moment(until, ends=True), ledger_command.drill_id(drill)
        )
    except ValueError as error:
        refuse(str(error))
    except Problem as problem:
        refuse(str(problem.body()["detail"]))
    found = _with_database(lambda database: ledger_command.warnings(database, city=city, period=period))
    if as_json:
        print(found.model_dump_json(by_alias=True))
    else:
        ledger_command.show(found, Console())


def main() -> None:
    """The `beacon` command."""
    app()


if __name__ == "__main__":
    main()
