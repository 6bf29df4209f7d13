"""What may become of an office's custody of a report. Pure."""

from collections.abc import Mapping
from typing import Literal

State = Literal["received", "opened", "acknowledged", "forwarded"]
Act = Literal["open", "acknowledge", "ask", "pass", "answer"]

# What is not in it changes nothing. Whoever is given a report, by whatever act of another office, has `received` it.
MOVES: Mapping[Act, Mapping[State, State]] = {
    "open": {"received": "opened"},
    "acknowledge": {"received": "acknowledged", "opened": "acknowledged"},
    # One's own custody waits: nobody asks back without having opened it.
    "ask": {"received": "opened", "opened": "opened", "acknowledged": "acknowledged", "forwarded": "forwarded"},
    "pass": {
        "received": "forwarded",
        "opened": "forwarded",
        "acknowledged": "forwarded",
        "forwarded": "forwarded",
    },
    "answer": {"received": "acknowledged", "opened": "acknowledged"},
}

# Its clock runs: to be opened, then to be taken on.
WAITING: tuple[State, ...] = ("received", "opened")


def after(state: State, act: Act) -> State | None:
    """The state after an act; None when the act changes nothing."""
    return MOVES[act].get(state)


def before(act: Act) -> tuple[State, ...]:
    """The states from which an act leads on, to another one."""
    return tuple(state for state, to in MOVES[act].items() if to != state)
