"""Which reading scopes the topics of a receiver need: who makes one may read nothing more than without it. Pure."""

from collections.abc import Sequence

# As the routes that read the same ask for.
_OF_TOPIC = {
    "report": "reports:read",
    "incident": "reports:read",
    "rollcall": "reports:read",
    "silence": "reports:read",
    "alert": "alerts:read",
    "alarm": "alerts:read",
    "drill": "alerts:read",
    "warning": "warnings:read",
    "receiver": "accounts:admin",
}
_ALL = frozenset({"reports:read", "alerts:read", "warnings:read"})


def scopes_of(events: Sequence[str]) -> frozenset[str]:
    """Return the scopes that reading all these types and patterns needs; of an unknown topic, every reading scope.

    A receiver without types hears of alerts.
    """
    needed: frozenset[str] = frozenset()
    for pattern in events or ("alert.*",):
        topic = pattern.partition(".")[0]
        needed |= {_OF_TOPIC[topic]} if topic in _OF_TOPIC else _ALL
    return needed
