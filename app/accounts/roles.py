"""What each role may do: fixed sets of scopes."""

from collections.abc import Mapping

_REPORTER = frozenset({"reports:write", "reports:read", "alerts:read", "warnings:read"})
_DESK = _REPORTER | {"alerts:act"}
_SUPERVISOR = _DESK | {"warnings:write", "interop:read"}
_ADMIN = _SUPERVISOR | {"nodes:admin", "accounts:admin"}

ROLES: Mapping[str, frozenset[str]] = {
    "reporter": _REPORTER,
    "desk": _DESK,
    "supervisor": _SUPERVISOR,
    "admin": _ADMIN,
}
