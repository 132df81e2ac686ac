"""What somebody else wrote: shown as it is, except for what controls or deceives."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.wire.bodies import ConnectRequest, SubRequest, decode_body
from push.wire.errors import ProtocolError
from push.wire.text import check_name_text, visible, visible_json

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
anything = st.text(st.characters())


def harmful(text: str) -> list[str]:
    return [each for each in text if unicodedata.category(each) in ("Cc", "Zl", "Zp", "Cs")]


def test_every_character_without_a_look_of_its_own_is_escaped() -> None:
    """The ranges in the module are those of Unicode's categories."""
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            shown = visible(f"a{character}b")
            assert shown.isascii(), hex(code)
            assert shown.startswith("a\\"), hex(code)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain, 100 %", "plain, 100 %"),
        ("Größe – 日本 🚀", "Größe – 日本 🚀"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("\x9b31m\x7f\x85", "\\x9b31m\\x7f\\x85"),
        ("\u202egnp.exe\u2066", "\\u202egnp.exe\\u2066"),
        ("ad\u200bmin\u2060 \ufeff", "ad\\u200bmin\\u2060 \\ufeff"),
        ("a\u2028b\u2029c", "a\\u2028b\\u2029c"),
        ("\ud800", "\\ud800"),
        ("x\U000e0041", "x\\U000e0041"),
        ("a\u3164b\u034fc\ufe0f", "a\\u3164b\\u034fc\\ufe0f"),
        # Invisible, and a part of what is written:
        ("👩\u200d🚀 ❤\ufe0f 1\ufe0f\u20e3", "👩\u200d🚀 ❤\ufe0f 1\ufe0f\u20e3"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("क्\u200dष", "क्\u200dष"),
        # … and not:
        ("ad\u200dmin", "ad\\u200dmin"),
        ("\u200d", "\\u200d"),
        ("🚀\u200d", "🚀\\u200d"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_text_of_several_lines_keeps_line_ends_and_tabs() -> None:
    assert visible("a\n\tb\r\x1bc", multiline=True) == "a\n\tb\\r\\x1bc"


@given(anything)
def test_what_is_shown_is_one_harmless_line(text: str) -> None:
    assert harmful(visible(text)) == []
    assert visible(visible(text)) == visible(text)
    assert set(harmful(visible(text, multiline=True))) <= {"\n", "\t"}


@given(st.recursive(anything, lambda inner: st.lists(inner) | st.dictionaries(anything, inner)))
def test_json_says_the_same_and_is_harmless(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    for ascii_only in (False, True):
        shown = visible_json(text, ascii_only=ascii_only)
        assert json.loads(shown) == value
        assert harmful(shown) == []
    assert visible_json(text, ascii_only=True).isascii()


@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("place", ["{}a", "a{}b", "a{}"])
def test_a_name_has_no_control_characters(control: str, place: str) -> None:
    """Also not at its end, where a `$` would overlook a line end."""
    name = place.format(control)
    with pytest.raises(ValueError, match="`title` has a control character"):
        check_name_text("title", name)
    for field in ("platform", "app", "device"):
        body = json.dumps({"platform": "p", "app": "a", field: name}).encode()
        with pytest.raises(ProtocolError, match=f"`{field}` has a control character"):
            decode_body(SubRequest, body, "SUB")
    body = json.dumps({"jwt": "j", "sdk": name}).encode()
    with pytest.raises(ProtocolError, match="`sdk` has a control character"):
        decode_body(ConnectRequest, body, "CONNECT")


def test_a_name_has_a_length_in_bytes() -> None:
    check_name_text("app", "ä" * 32, 64)
    check_name_text("app", None, 1)
    with pytest.raises(ValueError, match="`app` is longer than 64 bytes"):
        check_name_text("app", "ä" * 33, 64)
