import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.accounts import password_rules
from app.core.errors import Problem

LONG = "three words of mine"


def refused(password: str, role: str = "reporter", username: str = "village-1") -> str | None:
    """The code of what such a password is refused with."""
    try:
        password_rules.check(password, username=username, role=role)
    except Problem as problem:
        return problem.kind.code
    return None


@pytest.mark.parametrize(("role", "least"), [("reporter", 8), ("desk", 10), ("supervisor", 10), ("admin", 12)])
def test_the_more_an_account_may_do_the_longer_its_password(role: str, least: int) -> None:
    assert refused(LONG[: least - 1], role) == "password_length"
    assert refused(LONG[:least], role) is None
    assert password_rules.fits(LONG[:least]) == least


def test_characters_are_counted_once_they_are_normalised() -> None:
    assert refused("e\u0301" * 7 + "x") is None
    assert refused("e\u0301" * 4) == "password_length"
    assert refused("水" * 7 + "火") is None
    assert refused("演练水库开闸泄洪") is None


@pytest.mark.parametrize(
    "password",
    ["password", "PassWord", "12345678", "123456789012", "iloveyou", "qwertyuiop", "aaaaaaaaaaaa", "98765432109",
     "village-1", "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18"],
)  # fmt: skip
def test_what_is_guessed_first_is_refused(password: str) -> None:
    assert refused(password) == "password_common"


@given(st.text(min_size=0, max_size=300))
def test_every_text_gets_one_answer(password: str) -> None:
    assert refused(password) in (None, "password_length", "password_common")
