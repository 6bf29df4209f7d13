from itertools import pairwise

import pytest

from app.accounts.roles import ROLES
from app.core.caller import SCOPES


@pytest.mark.parametrize(
    ("role", "adds"),
    [
        ("reporter", {"reports:write", "reports:read", "alerts:read", "warnings:read"}),
        ("desk", {"alerts:act"}),
        ("supervisor", {"warnings:write", "interop:read"}),
        ("admin", {"nodes:admin", "accounts:admin"}),
    ],
)
def test_each_role_has_the_scopes_of_the_one_before_and_these(role: str, adds: set[str]) -> None:
    order = list(ROLES)
    before = ROLES[order[order.index(role) - 1]] if role != order[0] else frozenset()

    assert ROLES[role] - before == adds


def test_roles_only_widen_and_an_admin_has_every_scope() -> None:
    assert all(narrow < wide for narrow, wide in pairwise(ROLES.values()))
    assert ROLES["admin"] == SCOPES
