"""The lists that the JavaScript client and the console repeat are those of the server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from push.wire.api.operate.events import EVENT_KINDS
from push.wire.api.operate.keys import ALL_SCOPES
from push.wire.api.operate.webhooks import WEBHOOK_TYPES
from push.wire.api.push_targets import TARGET_OF_NAME
from push.wire.signals import ConnectStatus, DisconnectCode

WEB = Path(__file__).parents[2] / "push" / "web"
SCREENS = WEB / "console" / "screens"


def declared(path: Path, name: str) -> str:
    """What stands between the brackets of a list, or the braces of an object."""
    begin = rf"const {name} = (?:/\*\*.*?\*/ )?\(?[\[{{]"
    found = re.search(rf"{begin}(.*?)[\]}}]", path.read_text("utf-8"), re.S)
    assert found is not None, f"{path.name} has no {name}"
    return found[1]


@pytest.mark.parametrize(
    ("path", "name", "known"),
    [
        (SCREENS / "webhooks.js", "TYPES", WEBHOOK_TYPES),
        (SCREENS / "keys.js", "SCOPES", ALL_SCOPES),
        (SCREENS / "live.js", "KINDS", EVENT_KINDS),
        (SCREENS / "send.js", "KINDS", TARGET_OF_NAME),
    ],
    ids=["webhooks", "keys", "live", "send"],
)
def test_a_screen_offers_all_that_there_is(path: Path, name: str, known: Iterable[str]) -> None:
    assert sorted(re.findall(r'"(.*?)"', declared(path, name))) == sorted(known)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        # The number of the last is reserved: no server sends it.
        ("STATUSES", [each.name for each in ConnectStatus if each.name != "SESSION_NOT_EXIST"]),
        ("CODES", list(DisconnectCode)),
    ],
)
def test_the_client_has_a_rule_for_every_end_in_the_order_of_their_numbers(
    name: str, known: Iterable[str]
) -> None:
    assert re.findall(r"^\s+(\w+):", declared(WEB / "push.js", name), re.M) == list(known)
