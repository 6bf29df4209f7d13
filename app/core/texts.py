from app.core import problems
from app.core.errors import Problem
from app.core.textguard import check, mask, tidy


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
