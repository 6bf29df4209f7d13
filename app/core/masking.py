"""Personal identifiers in free text: found by shape, confirmed by check digit or date where the shape has one.

All patterns are bounded or cannot overlap with themselves, so the time taken grows with the length of the text.
"""

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

import phonenumbers
from stdnum import luhn
from stdnum.cn import ric

IDENTITY = "[身份证号 ID]"
PHONE = "[电话 phone]"
CARD = "[银行卡 card]"
PLATE = "[车牌 plate]"
EMAIL = "[邮箱 e-mail]"
DOCUMENT = "[证件 document]"

# One character for one, so that a place in the view is the same place in the text.
_WIDTHS = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}
_WIDTHS |= dict.fromkeys(map(ord, "\u00a0\u2002\u2003\u2009\u202f\u3000"), ord(" "))
_WIDTHS |= dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), ord("-"))
_WIDTHS |= dict.fromkeys(map(ord, "•・‧･∙⋅"), ord("·"))

_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_SEVEN_DIGITS = re.compile(r"\d(?:\D{0,3}\d){6}")
_PLATE_START = re.compile(f"[{_PROVINCES}][A-Za-zＡ-Ｚａ-ｚ]")

_LOCAL_PART = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._%+-"
_DOMAIN = re.compile(r"@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")

# GA 36-2018: five places with at most two letters, or six for new energy, whose first or last is a letter A to K.
_PLATE = re.compile(
    f"[{_PROVINCES}][A-Z][ ·.-]?"
    r"(?:[A-HJK][A-Z0-9][0-9]{4}|[0-9]{5}[A-HJK]|[A-Z0-9]{4}[A-Z0-9挂学警港澳])(?![A-Z0-9])",
    re.ASCII | re.IGNORECASE,
)
# A letter and eight digits may be anything: only what is called a passport or permit is taken for one.
_DOCUMENT = re.compile(
    r"(?:护照|通行证|回乡证|台胞证|passport)[^0-9A-Za-z\n]{0,6}(?:no|number)?[^0-9A-Za-z\n]{0,3}"
    r"([A-Z]{1,2}[0-9]{7,10})(?![A-Z0-9])",
    re.ASCII | re.IGNORECASE,
)
_UUID = re.compile(
    r"(?<![0-9A-Za-z])[0-9a-f]{8}(?:-?[0-9a-f]{4}){3}-?[0-9a-f]{12}(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE
)

_RUN = re.compile(r"[0-9]+")
_JOINT = re.compile(r"[ .()-]{1,3}")
_MOST_RUNS = 6
_FEWEST_DIGITS = 8
_COUNTRY_OR_TRUNK = re.compile(r"^(?:(?:00)?86|0(?=[0-9]{11}$))(?=1[3-9][0-9])")
_MOBILE = re.compile(r"1[3-9][0-9]{9}")
_LANDLINE = re.compile(r"(?:010|02[0-9])[2-9][0-9]{7}|0[3-9][0-9]{2}[2-9][0-9]{6,7}")
# ISO/IEC 7812 gives banks the first digits 2 to 6 and 9; with 2 only 16 digits, with 3 only 14 to 16 are issued,
# which keeps dates written as digits (2018...) out.
_CARD = re.compile(r"2[2-7][0-9]{14}|3[0-9]{13,15}|[4569][0-9]{12,18}")
_CARD_GROUPS = {(4, 6, 4), (4, 6, 5), (6, 10), (6, 13)}
# GB/T 2260: the provinces; 81 to 83 are residence permits.
_OLD_IDENTITY = re.compile(r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3])[0-9]{13}")


class _Claim(NamedTuple):
    start: int
    end: int
    placeholder: str


class _Run(NamedTuple):
    """Digits without a break; `gap` is what joins them to the run before, empty when nothing does."""

    start: int
    end: int
    digits: str
    gap: str


def mask(text: str) -> tuple[str, int]:
    """`text` with each personal identifier replaced by a placeholder, and how many were.

    Masked are resident identity numbers, phone numbers, bank cards, plates, e-mail addresses, and passports and
    permits that are called so. Short hotlines (110, 12345) and 400 numbers belong to offices and stay. Masking what
    is masked changes nothing.
    """
    if not _may_hold_any(text):
        return text, 0
    view = text.translate(_WIDTHS)
    claims: list[_Claim] = []
    for find in (_emails, _numbers, _plates, _documents):
        # What is claimed is blanked, so that later finders see what a second masking would see.
        found = list(find(view))
        view = _replaced(view, [claim._replace(placeholder="]" * (claim.end - claim.start)) for claim in found])
        claims += found
    return _replaced(text, sorted(claims)), len(claims)


def _may_hold_any(text: str) -> bool:
    return (
        "@" in text or "＠" in text or _SEVEN_DIGITS.search(text) is not None or _PLATE_START.search(text) is not None
    )


def _replaced(text: str, claims: list[_Claim]) -> str:
    pieces, done = [], 0
    for claim in claims:
        pieces += [text[done : claim.start], claim.placeholder]
        done = claim.end
    return "".join(pieces) + text[done:]


def _emails(view: str) -> Iterator[_Claim]:
    done, at = 0, view.find("@")
    while at >= 0:
        start = done + len(view[done:at].rstrip(_LOCAL_PART))
        domain = _DOMAIN.match(view, at)
        done = at + 1
        if domain and start < at:
            done = domain.end()
            yield _Claim(start, done, EMAIL)
        at = view.find("@", done)


def _plates(view: str) -> Iterator[_Claim]:
    for found in _PLATE.finditer(view):
        if sum(character.isdigit() for character in found[0]) >= 2:
            yield _Claim(*found.span(), PLATE)


def _documents(view: str) -> Iterator[_Claim]:
    for found in _DOCUMENT.finditer(view):
        yield _Claim(*found.span(1), DOCUMENT)


def _numbers(view: str) -> Iterator[_Claim]:
    view = _UUID.sub(lambda found: "]" * len(found[0]), view)
    runs = list(_runs(view))
    done = 0
    for index, run in enumerate(runs):
        if run.start < done or (index and runs[index - 1].start >= done and _is_fraction(view, runs[index - 1], run)):
            continue
        joined = _joined(runs, index)
        if sum(len(each.digits) for each in joined) < _FEWEST_DIGITS:
            continue
        end, placeholder = _number_at(view, joined)
        if end:
            start = run.start
            if placeholder == PHONE:
                start -= view[start - 1 : start] == "+"
                opened = view[start - 1 : start] == "(" and view.count(")", start, end) > view.count("(", start, end)
                start -= opened
            done = end
            yield _Claim(start, end, placeholder)


def _runs(view: str) -> Iterator[_Run]:
    before = -1
    for found in _RUN.finditer(view):
        joint = _JOINT.fullmatch(view, before, found.start()) if before >= 0 else None
        yield _Run(found.start(), found.end(), found[0], joint[0] if joint else "")
        before = found.end()


def _joined(runs: list[_Run], first: int) -> list[_Run]:
    last = first + 1
    while last < len(runs) and last < first + _MOST_RUNS and runs[last].gap:
        last += 1
    return runs[first:last]


def _is_fraction(view: str, whole: _Run, run: _Run) -> bool:
    """Whether `run` is the fraction of a coordinate (118.13800138000), not the text of a list's item ("1.138...")."""
    before = view[max(whole.start - 1, 0) : whole.start]
    glued = before.isascii() and before.isalnum()
    return run.gap == "." and whole.gap != "." and len(whole.digits) in (2, 3) and not glued


def _number_at(view: str, runs: list[_Run]) -> tuple[int, str]:
    """Where the identifier that begins with the first of `runs` ends, and its placeholder; 0 when there is none."""
    if end := _identity(view, runs):
        return end, IDENTITY
    if end := _card(runs):
        return end, CARD
    if end := _mobile(view, runs) or _international(view, runs) or _landline(runs):
        return end, PHONE
    return 0, ""


def _identity(view: str, runs: list[_Run]) -> int:
    """GB 11643: division, birth date, sequence, check digit; before 1999 without century and check digit."""
    sizes = [len(run.digits) for run in runs]
    if 6 < sizes[0] < 15 or sizes[0] > 18:
        return 0
    number = ""
    for run in runs:
        if "." in run.gap and number:
            break
        number += run.digits
        if len(number) > 18:
            break
        has_x = len(number) == 17 and view[run.end : run.end + 1] in ("x", "X")
        candidate = number + "X" * has_x
        if len(candidate) == 18 and _is_day(candidate[6:14]) and ric.calc_check_digit(candidate) == candidate[-1]:
            return run.end + has_x
    for used in (1, 3):
        number = "".join(run.digits for run in runs[:used])
        is_old = sizes[:used] in ([15], [6, 6, 3]) and _OLD_IDENTITY.fullmatch(number)
        if is_old and _is_day("19" + number[6:12]):
            return runs[used - 1].end
    return 0


def _card(runs: list[_Run]) -> int:
    for used in range(len(runs), 0, -1):
        if not _is_grouped_as_card(runs[:used]):
            continue
        number = "".join(run.digits for run in runs[:used])
        # A phone number after a card of sixteen digits must not lose its first three to it.
        takes_phone = used > 4 and _mobile("", runs[used - 1 :])
        if not takes_phone and _CARD.fullmatch(number) and luhn.is_valid(number):
            return runs[used - 1].end
    return 0


def _is_grouped_as_card(runs: list[_Run]) -> bool:
    sizes = tuple(len(run.digits) for run in runs)
    if len(runs) == 1:
        return 13 <= sizes[0] <= 19
    gaps = {run.gap for run in runs[1:]}
    in_fours = set(sizes[:-1]) == {4} and sizes[-1] <= 4 and 16 <= sum(sizes) <= 19
    return len(gaps) == 1 and gaps <= {" ", "-", "  ", " - "} and (in_fours or sizes in _CARD_GROUPS)


def _mobile(view: str, runs: list[_Run]) -> int:
    """Eleven digits from 13 to 19, with or without 86, +86, 0086 or the trunk 0; whole or in the usual groups."""
    first, rest = runs[0], runs[1:]
    if rest and first.digits in ("86", "0086"):
        # "86 138..." may be a count before a number, "+86 138..." and "86-138..." are not.
        if first.digits == "0086" or _has_plus(view, first) or set("-)") & set(rest[0].gap):
            return _mobile(view, rest)
        return 0
    if len(first.digits) > 15:
        return 0
    head = _COUNTRY_OR_TRUNK.sub("", first.digits)
    if len(head) == 11:
        return first.end if _MOBILE.fullmatch(head) else 0
    for used in (2, 3):
        parts = [head] + [run.digits for run in runs[1:used]]
        sizes = [len(part) for part in parts]
        gaps = {run.gap for run in runs[1:used]}
        if len(gaps) != 1 or not _MOBILE.fullmatch("".join(parts)):
            continue
        if (
            (sizes == [3, 4, 4] and gaps <= {" ", "-", ".", "  ", " - "})
            or (sizes == [3, 8] and gaps <= {" ", "-"} and not _is_day(parts[1]))
            or (sizes == [4, 3, 4] and gaps == {"-"})
        ):
            return runs[used - 1].end
    return 0


def _international(view: str, runs: list[_Run]) -> int:
    """A number with + or 0086 in front that is valid in its country's numbering plan."""
    called_by_zeros = runs[0].digits.startswith("0086")
    if not called_by_zeros and not _has_plus(view, runs[0]):
        return 0
    for used in range(len(runs), 0, -1):
        digits = "".join(run.digits for run in runs[:used])[2 * called_by_zeros :]
        if not 8 <= len(digits) <= 16 or any("." in run.gap for run in runs[1:used]):
            continue
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse("+" + digits)):
                return runs[used - 1].end
        except phonenumbers.NumberParseException:
            continue
    return 0


def _landline(runs: list[_Run]) -> int:
    """An area code (010, 02x, or 03xx to 09xx) and seven or eight digits."""
    for used in range(1, min(len(runs), 3) + 1):
        parts = [run.digits for run in runs[:used]]
        sizes = tuple(len(part) for part in parts)
        if sum(sizes) > 12 or any("." in run.gap for run in runs[1:used]) or not _LANDLINE.fullmatch("".join(parts)):
            continue
        # "0412 20180820" and "0412 850 1200" are times with what follows them.
        if (
            used == 1
            or (used == 2 and sizes in {(3, 8), (4, 7), (4, 8)} and not _is_day(parts[1]))
            or (used == 3 and sizes in {(3, 4, 4), (4, 3, 4), (4, 4, 4)} and runs[1].gap.strip())
        ):
            return runs[used - 1].end
    return 0


def _has_plus(view: str, run: _Run) -> bool:
    return view[max(run.start - 1, 0) : run.start] == "+"


def _is_day(digits: str) -> bool:
    """Whether `digits` (yyyymmdd) are a day of the 20th or 21st century; no clock here says which are past."""
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:])
    if not 1900 <= year <= 2099:
        return False
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
