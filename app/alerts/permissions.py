"""Who may act on an alert: seeing is not acting. docs/acting.md has the table. Pure."""

from collections.abc import Sequence
from typing import Literal

Act = Literal["acknowledge", "release", "escalate", "close"]
Answer = Literal["yes", "beyond", "owned"]


def may(act: Act, *, office: str, line: Sequence[str], owner: str | None) -> Answer:
    """Return whether an office may act on an alert.

    `line` is the offices that the alert belongs to, from the city down: the path of its own node, or the city alone
    once its incident is of two towns. `owner` is the office that has acknowledged it. All as they are today.
    `beyond`: the office is not on the line. `owned`: another office has it that does not stand below.
    """
    if office == owner:
        # Who owns what became the city's by a merge may hand it over, not end it.
        return "yes" if office in line or act != "close" else "beyond"
    if office not in line:
        return "beyond"
    if owner is None:
        return "yes"
    if act == "acknowledge":
        return "owned"
    # An owner that is not on the line (any more) stands below the city.
    is_above = owner not in line or line.index(office) < line.index(owner)
    return "yes" if is_above else "owned"
