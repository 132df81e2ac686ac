"""The code of the Close frame that ends a WebSocket (protocol.md, "WebSocket")."""

from __future__ import annotations

from push.wire.signals import ConnectStatus, DisconnectCode

NORMAL_CLOSURE = 1000
FIRST_DISCONNECT_CODE = 4000
FIRST_REFUSAL_CODE = 4100
_DISCONNECT_CODES = [code.value for code in DisconnectCode]


def close_code(ended: str) -> int:
    """After a DISCONNECT with the code `ended`, or a CONNECT that was refused with that status."""
    if ended in ConnectStatus.__members__:
        return FIRST_REFUSAL_CODE + ConnectStatus[ended]
    if ended == DisconnectCode.BYE or ended not in _DISCONNECT_CODES:
        return NORMAL_CLOSURE  # a client may have reasons of its own
    return FIRST_DISCONNECT_CODE + _DISCONNECT_CODES.index(ended)
