"""The table of bans says what a look at each ban would say."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from push.access.ban_table import SPARE_ENDS, ActiveBan, BanTable, NewBans, ban_of
from push.wire.addresses import Networks
from tests.amounts import amount

KEYS = st.sampled_from(
    [
        *("ip:10.0.0.0/8", "ip:10.1.0.0/16", "ip:10.1.2.3", "ip:2001:db8::/32", "ip:2001:db8::1"),
        *("token:a", "token:b", "user:a", "user:b", "user:ip:10.1.2.3"),
    ]
)
ENDS = st.sampled_from([0, 10, 20, 30])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, ENDS),
        st.tuples(st.just("remove"), KEYS, st.just(0)),
        st.tuples(st.just("take"), st.integers(0, 40), st.integers(1, 3)),
    ),
    max_size=60,
)


def naive(bans: dict[str, int], ip: str, token: str, user: str) -> list[tuple[str, int]]:
    found = []
    for key, end in bans.items():
        kind, _, name = key.partition(":")
        if name == {"token": token, "user": user}.get(kind) or (
            kind == "ip" and ip in Networks([name])
        ):
            found.append((kind, end))
    return sorted(found)


@settings(max_examples=amount(100, 1000), deadline=None)
@given(STEPS)
def test_it_is_as_a_list_of_bans(steps: list[tuple[str, str | int, int]]) -> None:
    table, bans = BanTable(), dict[str, int]()
    for what, value, number in steps:
        if what == "set":
            table.set(str(value), number)
            bans[str(value)] = number
        elif what == "remove":
            table.remove(str(value))
            bans.pop(str(value), None)
        else:
            taken = table.take_ended(int(value), number)
            ended = {key: end for key, end in bans.items() if 0 < end <= int(value)}
            assert len(taken) == min(number, len(ended))
            for key, end in taken:
                assert ended[key] == end
                del bans[key]
        assert len(table) == len(bans)
        for ip in ("10.1.2.3", "10.200.0.1", "2001:db8::1", "192.0.2.1", ""):
            for name in ("a", "b"):
                assert sorted(table.matching(ip, name, name)) == naive(bans, ip, name, name)


def test_bans_that_are_replaced_for_ever_make_it_worn_and_not_slow() -> None:
    """It is made anew then (`BanLog.read`), so that what it keeps stays bounded by the bans."""
    table = BanTable()
    for end in range(1, SPARE_ENDS + 3):
        assert not table.is_worn
        table.set("user:a", end)
    table.set("user:a", SPARE_ENDS + 3)
    assert table.is_worn


def test_new_bans_are_compared_by_name_and_by_network_and_many_by_all() -> None:
    new = NewBans()
    assert not new.are_there
    for ban in (
        ActiveBan("token", "t", None),
        ActiveBan("user", "u", 5),
        ActiveBan("ip", "10.0.0.0/8", None),
    ):
        new.add(ban)
    assert new.are_there
    assert new.name("t", None)
    assert new.name("x", "u")
    assert not new.name("u", "t")
    assert not new.name(None, None)
    assert new.cover("10.9.9.9")
    assert not new.cover("11.0.0.0")
    for number in range(NewBans.MOST):
        new.add(ActiveBan("user", f"u{number}", None))
    assert new.of_all


def test_what_another_version_stored_is_counted_and_bans_nobody() -> None:
    table = BanTable()
    for key in ("ip:nonsense", "ip:10.0.0.1/8", "planet:mars", ""):
        table.set(key, 0)
    assert len(table) == 4
    assert list(table.matching("10.0.0.1", "mars", "mars")) == []
    assert ban_of("planet:mars", 0) is None
    table.remove("ip:nonsense")
    assert len(table) == 3
