"""The device's one file. What it says is stored has reached the disk."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS reports (
    id TEXT PRIMARY KEY,
    body TEXT NOT NULL,                  -- all that it says by now, as JSON
    urgent INTEGER NOT NULL,
    state TEXT NOT NULL,                 -- waiting, stored, held, refused
    version INTEGER NOT NULL DEFAULT 0,  -- the version that the device's last step became: the next one's base
    answer TEXT                          -- what the server last answered about it, as JSON
) STRICT;
CREATE TABLE IF NOT EXISTS steps (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    report_id TEXT NOT NULL REFERENCES reports (id),
    kind TEXT NOT NULL,                  -- first, correction, attachment
    body BLOB NOT NULL,                  -- what goes out, byte by byte the same each time
    name TEXT,
    media_type TEXT,
    base_version INTEGER,                -- that the person corrected; none: what the step before became
    alone INTEGER NOT NULL,              -- not in a batch
    state TEXT NOT NULL,                 -- waiting, stored, held, conflict, refused, superseded
    sent INTEGER NOT NULL DEFAULT 0,     -- bytes of a file that have arrived
    tries INTEGER NOT NULL DEFAULT 0,
    retry_at REAL NOT NULL DEFAULT 0,
    answer TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS steps_of_report ON steps (report_id, seq);
CREATE INDEX IF NOT EXISTS steps_waiting ON steps (seq) WHERE state = 'waiting';
CREATE TABLE IF NOT EXISTS link (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    tries INTEGER NOT NULL DEFAULT 0,
    retry_at REAL NOT NULL DEFAULT 0
) STRICT;
INSERT OR IGNORE INTO link (one) VALUES (1);
CREATE TABLE IF NOT EXISTS clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    behind_s REAL NOT NULL               -- how far the device's clock is behind the server's; negative: ahead
) STRICT;
CREATE TABLE IF NOT EXISTS sign_in (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    access TEXT NOT NULL,
    refresh TEXT,                        -- none: an API key
    kept_at REAL NOT NULL,
    renewing_until REAL NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE IF NOT EXISTS seen (
    id TEXT PRIMARY KEY,
    drill TEXT NOT NULL,                 -- the drill that it is read in; empty: the real
    version INTEGER NOT NULL,
    deleted INTEGER NOT NULL,            -- it is no longer this office's: nothing of it is kept but this row
    report TEXT NOT NULL                 -- as far as it is known here, as JSON
) STRICT;
CREATE TABLE IF NOT EXISTS changes (
    cursor TEXT PRIMARY KEY,
    report_id TEXT NOT NULL,
    type TEXT NOT NULL,
    at TEXT NOT NULL,
    report TEXT NOT NULL                 -- what it was then, and what happened
) STRICT;
CREATE INDEX IF NOT EXISTS changes_of_report ON changes (report_id);
CREATE TABLE IF NOT EXISTS cursors (
    drill TEXT PRIMARY KEY,
    follow TEXT NOT NULL,                -- where to follow the changes from
    page TEXT                            -- the next page of the list, while it is read anew; empty: its first
) STRICT;
CREATE TABLE IF NOT EXISTS server (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    url TEXT NOT NULL,
    office TEXT                          -- the sign-in's: whose reports are told and read; none: not known
) STRICT;
"""


def open_store(path: Path | str, *, durable: bool = True) -> sqlite3.Connection:
    """The device's file, made when it is not there. Each process opens its own.

    With `durable=False` the last moments may be lost when the power goes: for simulations only.
    """
    if str(path) != ":memory:":
        # It holds a sign-in: nobody else's to read.
        Path(path).touch(mode=0o600)
    conn = sqlite3.connect(path, timeout=30, isolation_level=None)
    conn.row_factory = sqlite3.Row
    conn.execute("PRAGMA journal_mode = WAL")
    # FULL syncs the log at every commit; WAL's usual NORMAL does not.
    conn.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
    conn.execute("PRAGMA foreign_keys = ON")
    conn.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    return conn


@contextmanager
def writing(conn: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """One transaction: all of it, on the disk, or nothing. No other process writes meanwhile."""
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield conn
    except BaseException:
        # A full disk has ended it already.
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise
    conn.execute("COMMIT")


def server_of(store: sqlite3.Connection) -> str | None:
    """The address of the server that this device belongs to."""
    row = store.execute("SELECT url FROM server").fetchone()
    return row["url"] if row else None


def belong(store: sqlite3.Connection, url: str, office: str | None) -> None:
    """This device belongs to this office at this server from now on. Within its caller's transaction.

    What waits stays the office's that wrote it; what was read of the one before is read no longer. None: not known.
    """
    was = store.execute("SELECT url, office FROM server").fetchone()
    known = was["office"] if was is not None and office is None and was["url"] == url else office
    store.execute("INSERT OR REPLACE INTO server (one, url, office) VALUES (1, ?, ?)", (url, known))
    if was is None or (was["url"] == url and was["office"] in (None, known)):
        return
    for table in ("cursors", "seen", "changes"):
        store.execute(f"DELETE FROM {table}")  # noqa: S608  a name from above
    if was["office"] is None:
        return
    for table, kept, waits in (
        (
            "steps",
            "CAST(json_set(CAST(body AS TEXT), '$.node', ?) AS BLOB)",
            "state = 'waiting' AND kind <> 'attachment'",
        ),
        ("reports", "json_set(body, '$.node', ?)", "true"),
    ):
        store.execute(
            f"UPDATE {table} SET body = {kept} WHERE {waits} AND json_extract(CAST(body AS TEXT), '$.node') IS NULL",  # noqa: S608  as above
            (was["office"],),
        )
