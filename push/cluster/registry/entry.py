"""What one instance of a service tells the others about itself.

The registry keeps a `RegistryEntry` as JSON. During a rolling update several versions of this
project read each other's entries, so unknown fields are ignored and every field but the name has a
default.
"""

from __future__ import annotations

import re

import msgspec

from push.wire.bodies import check_json_text
from push.wire.idents import NAME_RULE, is_name

CONNECTOR = "push-connector"

MAX_URL_CHARACTERS = 512
_URL = re.compile(r"(?:tcp|tls|ws|wss)://[!-~]+")  # given to clients: visible ASCII

Key = tuple[str, str]  # (service, instance)


class RegistryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of one service.

    `addresses` maps a carrier ("tcp", "tls", "ws", "wss") to the URL that clients get;
    `public`: the operator has set them, so every client gets them as they are. `capacity` is in
    sessions, 0 = no limit. `weight` is the node's share of new sessions beside others of the same
    capacity; 0 = none. `started` is in milliseconds since 1970. `boot` is new at each start of the
    process, 16 hex digits.
    """

    service: str
    instance: str
    boot: str
    addresses: dict[str, str] = {}
    public: bool = False
    sessions: int = 0
    capacity: int = 0
    version: str = ""
    draining: bool = False
    weight: int = 1
    zone: str = ""
    started: int = 0
    counters: dict[str, int] = {}

    @property
    def key(self) -> Key:
        return (self.service, self.instance)

    def differs_in_role(self, other: RegistryEntry) -> bool:
        """Whether more than the load changed: what clients get should follow at once."""
        return self._without_load() != other._without_load()

    def _without_load(self) -> RegistryEntry:
        return msgspec.structs.replace(self, sessions=0, counters={})


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(RegistryEntry)


def encode_entry(entry: RegistryEntry) -> bytes:
    return _encoder.encode(entry)


def decode_entry(key: Key, raw: bytes) -> RegistryEntry:
    """The entry registered as `key`; raises ValueError when it cannot be read or is another's."""
    check_json_text(raw)
    entry = _decoder.decode(raw)  # msgspec's errors are ValueErrors
    if entry.key != key:
        raise ValueError(f"the entry says that it is {entry.service}/{entry.instance}")
    check_names(entry)
    for carrier, url in entry.addresses.items():
        if len(url) > MAX_URL_CHARACTERS or not _URL.fullmatch(url):
            raise ValueError(f"its address for {carrier} is no URL of a server")
    return entry


class _Boot(msgspec.Struct):
    boot: str = ""


def boot_of(raw: bytes) -> str:
    """Whose entry it is, as far as that can be read."""
    try:
        check_json_text(raw)
        return msgspec.json.decode(raw, type=_Boot).boot
    except ValueError:
        return ""


def check_names(entry: RegistryEntry) -> None:
    """Raises ValueError for a name that not every registry can keep.

    Names are fields of a Redis hash and path elements in ZooKeeper and in URLs.
    """
    for name in entry.key:
        if not is_name(name):
            raise ValueError(f"{name!r} cannot be registered: a name is {NAME_RULE}")
    if not entry.boot or not entry.boot.isalnum():
        raise ValueError("an entry needs a boot id of letters and digits")
