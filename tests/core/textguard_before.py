"""What was taken before reports' texts were forgiven: it is stored, and is to be a replay when it comes again."""

import re
import unicodedata

# C0 and C1 controls, lone surrogates, and the two noncharacters that XML 1.0 (section 2.2) cannot carry.
_CONTROL_IN_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_CONTROL_IN_ONE_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
_BIDI = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\u061c]")
# Besides zero widths and tags: the soft hyphen, format controls and fillers of no width.
_INVISIBLE = re.compile(
    "[\u00ad\u115f\u1160\u200b\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_JOINER_OR_SELECTOR = re.compile("[\u200c\u200d\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_JOINERS = "\u200c\u200d"
_EMOJI_SELECTORS = "\ufe0e\ufe0f"
_KEYCAP = "\u20e3"
# Symbols and skin tones.
_EMOJI = ("So", "Sk")


def check(text: str, *, multiline: bool) -> str | None:
    """Why `text` cannot be taken, as a stable code, or None when it can.

    `control_character`: controls, lone surrogates, and, when not `multiline`, tabs and line breaks too;
    `bidi_control`: marks that change the order in which text is shown;
    `invisible_character`: what nobody sees: zero-width and tag characters, joiners outside emoji and joined scripts.
    """
    if (_CONTROL_IN_LINES if multiline else _CONTROL_IN_ONE_LINE).search(text):
        return "control_character"
    if text.isascii():
        return None
    if _BIDI.search(text):
        return "bidi_control"
    if _INVISIBLE.search(text) or not all(
        _is_seen(text, found.start()) for found in _JOINER_OR_SELECTOR.finditer(text)
    ):
        return "invisible_character"
    return None


def tidy(text: str) -> str:
    """`text` in Unicode's NFC, its line breaks as a line feed, without white space around it."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").strip()


def _is_seen(text: str, at: int) -> bool:
    """Whether the joiner or variation selector at `at` changes how the character before it is drawn."""
    if at == 0:
        return False
    before = text[at - 1]
    category = unicodedata.category(before)
    if text[at] in _JOINERS:
        return category in _EMOJI or before in _EMOJI_SELECTORS or _is_of_joined_script(before)
    if before.isascii():
        return before in "0123456789#*" and text[at + 1 : at + 2] == _KEYCAP
    # Ideographs, signs and arrows have variants chosen by a selector (Unicode's StandardizedVariants and IVD).
    return category in _EMOJI or category in ("Lo", "Sm", "Po", "Pd")


def _is_of_joined_script(character: str) -> bool:
    # Arabic (Uyghur, Kazakh) and Mongolian letters change their shape next to a joiner.
    return "\u0600" <= character <= "\u06ff" or "\u1800" <= character <= "\u18af"
