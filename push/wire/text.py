"""Text that somebody else wrote: shown so that it cannot deceive, and checked where it is a name.

A terminal obeys control characters (ESC, CR, the C1 controls), shows text in another order after
bidirectional overrides, and shows nothing at all for some characters. `visible` makes all of these
escapes that can be read; `visible_json` writes them as JSON escapes, so that the text stays JSON.
"""

from __future__ import annotations

import re
import unicodedata

from msgspec import UNSET, UnsetType

# What `NAME_TEXT_PATTERN` says is exact in Python's and in JavaScript's regular expressions: no
# control character (category Cc) anywhere, a line end at the end included.
NAME_TEXT_PATTERN = "^(?![\\s\\S]*[\\u0000-\\u001f\\u007f-\\u009f])"

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

# Categories Cc, Cf, Cs, Zl and Zp, and what has a width of nothing or is blank though it counts as
# a letter or mark: grapheme joiner, fillers, variation selectors, tags. As ranges, because asking
# `unicodedata` for every character when the module loads would take a third of a second; a test
# compares them.
_DECEIVING = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890-\u0891\u08e2"
    "\u115f-\u1160\u17b4-\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_ONE = re.compile(f"[{_DECEIVING}]")
_JOINERS = "\u200c\u200d"
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, multiline: bool = False) -> str:
    """`text` with escapes such as `\\x1b` and `\\u202e` for what could control or deceive.

    Line ends and tabs are escaped too, so that the result is one line, unless it is `multiline`.
    """
    if text.isascii() and text.isprintable():
        return text

    def escape(found: re.Match[str]) -> str:
        character = found[0]
        if multiline and character in "\n\t":
            return character
        if _is_part_of_a_word(text, found.start()):
            return character
        return _escaped(character)

    return _ONE.sub(escape, text)


def visible_json(json: str, *, ascii_only: bool = False) -> str:
    """JSON text with JSON's own escapes for the same characters; with `ascii_only` for all others
    than ASCII, too.

    Outside of strings JSON has only ASCII, and this gets it without line ends.
    """
    if json.isascii() and json.isprintable():
        return json
    pattern = re.compile("[^\x20-\x7e]") if ascii_only else _ONE
    return pattern.sub(lambda found: _json_escaped(found[0]), json)


def check_name_text(
    field: str, value: str | UnsetType | None, max_bytes: int | None = None
) -> None:
    """Raises ValueError, which names `field`, for text that may not be a name for people.

    It must have no control characters (the categories C0, DEL and C1) and at most `max_bytes` of
    UTF-8. What was left out is fine.
    """
    if value is None or value is UNSET:
        return
    if _CONTROL.search(value):
        raise ValueError(f"`{field}` has a control character")
    if max_bytes is not None and len(value.encode()) > max_bytes:
        raise ValueError(f"`{field}` is longer than {max_bytes} bytes")


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def _is_part_of_a_word(text: str, index: int) -> bool:
    """Whether an invisible character makes what is around it look as its writer meant it.

    Joiners are letters' own in Arabic and Indic scripts (RFC 5892, appendix A) and make one emoji
    of several; a variation selector behind a symbol makes it an emoji.
    """
    character = text[index]
    before = text[index - 1] if index else ""
    after = text[index + 1 : index + 2]
    if not before:
        return False
    if character in _JOINERS:
        if unicodedata.combining(before) == 9:  # a virama
            return True
        if not after:
            return False
        arabic = unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL"
        return arabic or (character == "\u200d" and _is_emoji(before) and _is_emoji(after))
    if character in "\ufe0e\ufe0f":
        return _is_symbol(before)
    return False


def _is_emoji(character: str) -> bool:
    return character == "\ufe0f" or unicodedata.category(character) in ("So", "Sk")


def _is_symbol(character: str) -> bool:
    """Digits, too: `1`, U+FE0F and a frame are the emoji of a key."""
    return unicodedata.category(character) in ("So", "Sm", "Po", "Nd", "No")
