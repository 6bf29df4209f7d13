"""Which passwords are taken: long enough for what they open, and not among the first that are guessed. Pure."""

import unicodedata
from functools import cache

from zxcvbn.frequency_lists import FREQUENCY_LISTS

from app.core import problems
from app.core.errors import Problem

# In characters, by role: the more an account may do, the more a guess is worth.
LEAST = {"reporter": 8, "desk": 10, "supervisor": 10, "admin": 12}
MAX_LENGTH = 256
_DIGITS = "0123456789"
_RUNS = (_DIGITS * 30, _DIGITS[::-1] * 30, "1234567890" * 30, "0987654321" * 30, "abcdefghijklmnopqrstuvwxyz" * 12)


def normalised(password: str) -> str:
    """As it is hashed: the same text, however keyboard and input method spell it (NFKC)."""
    return unicodedata.normalize("NFKC", password)


def check(password: str, *, username: str, role: str, pointer: str = "/password") -> None:
    """Whether an account may have this password; a Problem (422) that says what to do when not."""
    text = normalised(password)
    least = LEAST[role]
    if not least <= len(text) <= MAX_LENGTH:
        raise Problem(problems.PASSWORD_LENGTH, pointer=pointer, role=role, least=least, most=MAX_LENGTH)
    if is_common(text) or text.casefold() == username.casefold():
        raise Problem(problems.PASSWORD_COMMON, pointer=pointer)


def fits(password: str) -> int:
    """The longest of the least lengths that a password has, once it has been checked."""
    return max(least for least in LEAST.values() if least <= len(normalised(password)))


def is_common(password: str) -> bool:
    """Whether it is among the most used, one character again and again, or a run of the keyboard."""
    text = password.casefold()
    return text in _most_used() or len(set(text)) == 1 or any(text in run for run in _RUNS)


@cache
def _most_used() -> frozenset[str]:
    # Shorter ones are refused for their length.
    return frozenset(word for word in FREQUENCY_LISTS["passwords"] if len(word) >= min(LEAST.values()))
