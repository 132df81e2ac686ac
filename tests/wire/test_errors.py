"""The contract's names: signals, statuses, codes."""

from __future__ import annotations

import pytest

from push.wire.errors import STATUS_OF_CODE, RequestError, bad_frame
from push.wire.signals import ConnectStatus, DisconnectCode, Signal, signal_name


def test_signals_have_the_numbers_of_the_contract():
    names = "SUB AUTH PING PUSH CONTACT CONNECT CONNECT_ACK DISCONNECT PUBLISH PUB_ACK"
    assert [signal.name for signal in Signal] == names.split()
    assert [int(signal) for signal in Signal] == list(range(1, 11))


def test_statuses_count_from_0():
    assert [int(status) for status in ConnectStatus] == list(range(8))


def test_disconnect_codes_are_in_the_order_of_the_contract():
    order = (
        "bye taken_over kicked draining heartbeat_timeout handshake_timeout bad_frame "
        "frame_too_large rate_limited credentials_expired internal"
    )
    assert [code.value for code in DisconnectCode] == order.split()


def test_every_number_has_a_name_for_people():
    assert signal_name(6) == "CONNECT"
    assert signal_name(0) == "signal 0"
    assert all(signal_name(number) for number in range(256))


def test_a_refusal_has_only_documented_codes():
    assert RequestError("unknown_token", "no", field="token").http_status == 404
    with pytest.raises(ValueError, match="'nonsense'"):
        RequestError("nonsense", "no")
    assert set(STATUS_OF_CODE.values()) <= set(range(400, 504))


def test_a_bad_frame_says_its_reason():
    error = bad_frame("magic: wrong")
    assert (error.code, error.reason) == (DisconnectCode.BAD_FRAME, "magic: wrong")
