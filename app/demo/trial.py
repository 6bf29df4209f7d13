"""A first look: SQLite, the real tree of Shouguang, and sign-ins whose passwords everybody knows."""

import ipaddress
import json
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from sqlalchemy import select, update

from app.accounts import command as accounts_command
from app.accounts.models import Account, ApiKey
from app.core import migrate
from app.core.clock import SystemClock
from app.core.database import Database
from app.core.ids import new_id
from app.core.settings import Settings
from app.nodes import command as nodes_command
from app.nodes.models import Node

TREE = Path(__file__).with_name("shouguang.csv")

CITY, TOWN, VILLAGE = "370783000000", "370783108000", "370783108201"
ADMIN, DESK, TOWN_DESK, REPORTER = "demo-admin", "city-desk", "town-desk", "village-reporter"
PASSWORD = "beacon-exercise"  # noqa: S105  printed on purpose: a trial serves loopback only
LABEL = "trial"
SCOPES = ["reports:write", "reports:read", "alerts:read"]

_SIGN_INS = [
    (ADMIN, CITY, "admin"),
    (DESK, CITY, "desk"),
    (TOWN_DESK, TOWN, "desk"),
    (REPORTER, VILLAGE, "reporter"),
]


async def prepare(settings: Settings, *, host: str, port: int) -> list[str]:
    """Make the database ready for a first look; the lines to print. ValueError where that would be unsafe."""
    database = Database(settings.database_url)
    try:
        if not database.is_sqlite or not _is_loopback(host):
            raise ValueError("A trial has public passwords: it runs on SQLite and on a loopback address only.")
        await migrate.upgrade_async(settings.database_url)
        now = SystemClock().now()
        async with database.reading() as conn:
            has_city = (await conn.execute(select(Node.code).where(Node.code == CITY))).first() is not None
        if not has_city:
            await nodes_command.import_file(database, TREE, dry_run=False, now=now, console=Console(stderr=True))
        async with database.reading() as conn:
            known = set((await conn.execute(select(Account.username))).scalars())
        for username, node, role in _SIGN_INS:
            if username not in known:
                await accounts_command.create_account(
                    database, username=username, node=node, role=role, password=PASSWORD, now=now
                )
        async with database.writing() as conn:
            await conn.execute(
                update(ApiKey).where(ApiKey.label == LABEL, ApiKey.revoked_at.is_(None)).values(revoked_at=now)
            )
        key = await accounts_command.create_key(database, node=CITY, scopes=SCOPES, label=LABEL, now=now)
    finally:
        await database.close()
    return _welcome(f"http://{host}:{port}", key)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _welcome(url: str, key: str) -> list[str]:
    moment = datetime.now(UTC).isoformat(timespec="seconds")
    body = {
        "id": str(new_id()),
        "node": VILLAGE,
        "hazard": "flood.river",
        "urgency": "Immediate",
        "severity": "Severe",
        "certainty": "Observed",
        "observed_at": moment,
        "submitted_at": moment,
        "summary": "【演练】河水漫堤，12 人被困",
        "figures": {"trapped": 12},
    }
    bearer = f'-H "Authorization: Bearer {key}"'
    report = json.dumps(body, ensure_ascii=False)
    return [
        "",
        f"Beacon serves at {url}   (readable pages of the API: {url}/docs)",
        "",
        f"Demo sign-ins, all with the password {PASSWORD}:",
        *(f"  {username:<18} {role} at {node}" for username, node, role in _SIGN_INS),
        "",
        "Try, in another terminal:",
        f"curl -sw '\\n' {bearer} -H 'Content-Type: application/json' {url}/v1/reports -d '{report}'",
        f"curl -sw '\\n' {bearer} {url}/v1/alerts",
        f"curl -sw '\\n' {bearer} '{url}/v1/alerts/changes?wait=20'",
        "",
        "The flood night of 2018, replayed as an exercise:  .venv/bin/beacon demo",
        "",
    ]
