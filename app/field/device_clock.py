"""How far the device's clock is from the server's, as its answers tell: what is written later is dated by that."""

import sqlite3
from datetime import datetime, timedelta

from app.field.store import writing

# Less is the way of the answer, or what any two clocks differ by.
LEAST = timedelta(minutes=2)


def learn(store: sqlite3.Connection, *, there: datetime, here: datetime) -> None:
    """Note the server's time, when it is `here` on the device."""
    apart = there - here
    seconds = 0.0 if abs(apart) < LEAST else apart.total_seconds()
    with writing(store):
        store.execute("INSERT OR REPLACE INTO clock (one, behind_s) VALUES (1, ?)", (seconds,))


def right(store: sqlite3.Connection, here: datetime) -> datetime:
    """The time at the server, as far as it is known, when it is `here` on the device."""
    row = store.execute("SELECT behind_s FROM clock").fetchone()
    return here + timedelta(seconds=row["behind_s"]) if row else here
