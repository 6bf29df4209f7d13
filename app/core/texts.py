from app.core import problems
from app.core.errors import Problem
from app.core.textguard import check, mask, scrub, tidy


def forgive(text: str, *, multiline: bool = True) -> tuple[str, int, int]:
    """A report's text as it may be stored, whatever it was: how many identifiers were masked, characters removed.

    A device can cure nothing of what a person has typed: controls, marks of direction, halves of characters and what
    nobody sees are left out.
    """
    text, removed = scrub(text, multiline=multiline)
    masked, count = mask(text)
    return masked, count, removed


def clean(
    text: str, *, pointer: str, multiline: bool = True, required: bool = False, most: int | None = None
) -> tuple[str, int]:
    """Free text as it may be stored, and how many personal identifiers were masked in it.

    A Problem (422) at `pointer` when it has characters that cannot be shown, or is blank though `required`.
    """
    text = tidy(text)
    if required and not text:
        raise Problem(problems.TEXT_BLANK, pointer=pointer)
    if most is not None and len(text) > most:
        # Unicode's composed form can be longer than what was sent.
        raise Problem(problems.TEXT_LONG, pointer=pointer, most=most)
    refused = check(text, multiline=multiline)
    if refused is not None:
        raise Problem(problems.TEXT_CONTROL, pointer=pointer, reason=refused)
    return mask(text)
