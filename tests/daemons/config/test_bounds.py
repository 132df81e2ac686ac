"""Settings together: what contradicts is refused, what gives way is told."""

from __future__ import annotations

import pytest

from push.daemons.config.errors import SettingsError
from push.daemons.config.loading import load


def test_the_defaults_fit_together() -> None:
    assert load().notes == ()


def test_a_default_that_limits_leave_out_is_brought_inside_and_told() -> None:
    settings = load(options={"connector-heartbeat-max": "20", "limits-ttl-max": "60"})
    assert settings.connector.heartbeat == 20
    assert settings.limits.ttl_default == 60
    heartbeat, ttl = settings.notes
    assert heartbeat.startswith("connector.heartbeat is 20: the default of 300 is outside")
    assert ttl.startswith("limits.ttl_default is 60: the default of 86400 is above limits.ttl_max")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"connector-heartbeat": "5"}, r"connector.heartbeat \(5\) is outside .* \(10 … 1800\)"),
        ({"connector-heartbeat": "1801"}, r"connector.heartbeat \(1801\) is outside"),
        ({"limits-ttl-default": "2592001"}, r"limits.ttl_default \(2592001\) is above"),
    ],
)
def test_a_value_that_somebody_gave_is_refused_and_not_replaced(
    options: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        load(options=options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"limits-max-payload": "2000000"}, "limits.max_payload (2000000) does not fit"),
        ({"connector-max-frame": "4096"}, "raise connector.max_frame (4096)"),
        ({"limits-shared-max-age": "700000"}, "limits.ttl_max (2592000) is above"),
        ({"limits-ttl-max": "9000000"}, "limits.ttl_max (9000000) is above limits.shared_max_age"),
        ({"chat-ttl": "9000000"}, "chat.ttl (9000000) is above limits.shared_max_age"),
    ],
)
def test_a_limit_that_another_one_keeps_from_being_reached_is_told(
    options: dict[str, str], said: str
) -> None:
    (note,) = load(options=options).notes
    assert said in note
