import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.textguard import check, mask, scrub, tidy
from tests.core import textguard_before

FINE = [
    "",
    "弥河水位 18.6 m，仍在上涨（演练）",
    "exercise: road closed, 12 trapped",
    "家庭 👨‍👩‍👧 已转移",
    "👍🏽 ❤️ ☎️ ‼️ ↔️",
    "🏳️‍🌈",
    "第 1️⃣ 组",
    "ℹ️ ©️ ™️ Ⓜ️ ㊙️",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "𠮷野家 𰻞 㐂",
    "葛\U000e0100城村",
    "مى\u200dخو",
    "ᠮᠣ\u200dᠩ",
]


@pytest.mark.parametrize("text", FINE)
@pytest.mark.parametrize("multiline", [True, False])
def test_plain_words_and_emoji_are_fine(text: str, multiline: bool) -> None:
    assert check(text, multiline=multiline) is None


@pytest.mark.parametrize("break_", ["\n", "\t", "\u2028", "\u2029"])
def test_tabs_and_line_breaks_are_fine_only_in_text_of_several_lines(break_: str) -> None:
    text = f"一号{break_}二号"

    assert check(text, multiline=True) is None
    assert check(text, multiline=False) == "control_character"


@pytest.mark.parametrize("multiline", [True, False])
@pytest.mark.parametrize(
    ("characters", "code"),
    [
        ("\x00\x01\x08\x0b\x0c\r\x1b\x1f\x7f\x80\x85\x9f\ud800\udfff\ufffe\uffff", "control_character"),
        ("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", "bidi_control"),
        ("\u00ad\u200b\u2060\u2064\u3164\ufeff\ufff9\U000e0001\U000e0041\U000e007f", "invisible_character"),
    ],
)
def test_characters_that_mislead_are_named_by_kind(characters: str, code: str, multiline: bool) -> None:
    for character in characters:
        for text in (character, f"{character}水位", f"水{character}位", f"water{character}"):
            assert check(text, multiline=multiline) == code, ascii(text)


@pytest.mark.parametrize(
    "text", ["\u200d", "\ufe0f水", "救\u200d命", "a\u200cb", "1\ufe0f3\ufe0f8", "1\u200d3", "a\ufe0f", "。\u200d"]
)
def test_joiners_and_selectors_that_change_nothing_seen_are_invisible(text: str) -> None:
    assert check(text, multiline=True) == "invisible_character"


def test_the_gravest_kind_is_named_first() -> None:
    assert check("\u200b\u202e\x00", multiline=True) == "control_character"
    assert check("\u200b\u202e", multiline=True) == "bidi_control"


@pytest.mark.parametrize(
    ("text", "tidied"),
    [
        ("  水位上涨 \n", "水位上涨"),
        ("\u3000水位\u3000", "水位"),
        ("一\r\n二\r三\n四", "一\n二\n三\n四"),
        ("cafe\u0301", "café"),
        ("１８００ 　ｍ", "１８００ 　ｍ"),
        ("", ""),
    ],
)
def test_tidy_composes_and_unifies_line_breaks_and_strips(text: str, tidied: str) -> None:
    assert tidy(text) == tidied


@given(st.text())
def test_tidying_twice_is_tidying_once(text: str) -> None:
    tidied = tidy(text)

    assert tidy(tidied) == tidied
    assert "\r" not in tidied
    assert tidied == tidied.strip()
    assert unicodedata.is_normalized("NFC", tidied)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_is_fine_in_one_line_is_fine_in_several(text: str) -> None:
    code = check(text, multiline=False)

    assert check(text, multiline=True) in {code, None} or code == "control_character"


@given(st.text(alphabet="水位上涨，abc \n😀"))
def test_masking_never_makes_text_that_check_refuses(text: str) -> None:
    masked, _ = mask(f"{text}电话13800138000")

    assert check(masked, multiline=True) is None


# Whatever a keyboard, a gateway or a bad link makes of a text.
anything = st.text(
    alphabet=st.one_of(
        st.characters(),
        st.sampled_from("\x00\x1b\r\n\t\u200b\u200d\ufe0f\u202e\u2066\ufeff\uffff\U000e0067\U000e007f水a1🏴👩e\u0301"),
    )
)


@given(anything, st.booleans())
def test_what_is_scrubbed_is_taken_and_scrubbing_twice_is_once(text: str, multiline: bool) -> None:
    kept, removed = scrub(text, multiline=multiline)

    assert check(kept, multiline=multiline) is None
    assert scrub(kept, multiline=multiline) == (kept, 0)
    assert removed >= 0


@given(anything, st.booleans())
def test_what_was_taken_before_is_stored_as_it_was(text: str, multiline: bool) -> None:
    before = textguard_before.tidy(text)

    if textguard_before.check(before, multiline=multiline) is None:
        assert scrub(text, multiline=multiline) == (before, 0)


@pytest.mark.parametrize(
    ("text", "kept", "removed"),
    [
        ("水\x00位\x1b上涨", "水位上涨", 2),
        ("abc\u202edef\u2069", "abcdef", 2),
        ("138\u200b0013\u20608000", "13800138000", 2),
        ("\ud83d水位", "水位", 1),
        ("一\r\n二", "一\n二", 0),
        ("a\ufe0f\u200db", "ab", 2),
        ("e\u200b\u0301", "é", 1),
        ("ℹ️ 👨‍👩‍👧", "ℹ️ 👨‍👩‍👧", 0),
    ],
)
def test_only_what_is_no_text_is_left_out(text: str, kept: str, removed: int) -> None:
    assert scrub(text, multiline=True) == (kept, removed)


def test_in_one_line_a_break_is_a_space() -> None:
    assert scrub("一\r\n二\t三", multiline=False) == ("一 二 三", 0)
