"""What a client does next, cell by cell: the contract's tables, the back-off, the redirects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push.sdk import errors
from push.sdk.address import ServerAddress, parse_server, usable_servers
from push.sdk.reconnect import (
    CONNECT_RESPONSES,
    MAX_CREDENTIAL_TRIALS,
    MAX_HOPS,
    STABLE_SECONDS,
    Abilities,
    NextStep,
    Policy,
    ReconnectPlan,
    backoff_ceiling_seconds,
)
from push.session.client.events import ConnectionRefused, Disconnected, RegistrationRefused
from push.wire.signals import ConnectStatus, DisconnectCode

A = parse_server("tls://a:1")
B = parse_server("tls://b:2")
C = parse_server("tls://c:4")
PLAIN = parse_server("tcp://p:3")
NOBODY = Abilities()
EVERYTHING = Abilities(register=True, renew=True, ask_servers=True)


def policy(
    *servers: ServerAddress, abilities: Abilities = NOBODY, draw: float = 0.5, plain: bool = True
) -> Policy:
    return Policy(servers, abilities, lambda: draw, plain_allowed=plain)


def in_session(*servers: ServerAddress, abilities: Abilities = NOBODY) -> Policy:
    """A policy whose session has been open, and stable, since time 0. Judge it at 100."""
    made = policy(*servers, abilities=abilities)
    made.start()
    made.accepted(0.0)
    return made


def refusal(
    status: int, after: int | None = None, servers: tuple[str, ...] = ()
) -> ConnectionRefused:
    return ConnectionRefused(status, "code", "detail", after, servers)


def test_there_is_a_rule_for_every_refusal_that_a_server_may_send():
    others = {ConnectStatus.ACCEPTED, ConnectStatus.SESSION_NOT_EXIST}  # the latter is reserved
    assert CONNECT_RESPONSES.keys() == set(ConnectStatus) - others


# --- Back-off ------------------------------------------------------------------------------------


def test_the_ceiling_doubles_from_1_to_60_seconds():
    assert [backoff_ceiling_seconds(n) for n in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_ceiling_doubles_once_a_round_over_the_servers():
    made = policy(A, B, draw=1.0)
    made.start()
    assert [made.lost(0.0).delay_seconds for _ in range(6)] == [1, 1, 2, 2, 4, 4]


def test_a_round_is_one_over_the_list_in_use():
    made = policy(abilities=Abilities(ask_servers=True), draw=1.0)
    assert made.start() == ReconnectPlan(NextStep.ASK_SERVERS)
    for seconds in (1.0, 2.0):
        assert made.servers_found([str(A), str(B), str(C)]) == ReconnectPlan(
            NextStep.CONNECT, 0.0, A
        )
        assert made.lost(0.0) == ReconnectPlan(NextStep.CONNECT, seconds, B)
        assert made.lost(0.0) == ReconnectPlan(NextStep.CONNECT, seconds, C)
        assert made.lost(0.0) == ReconnectPlan(NextStep.ASK_SERVERS, seconds)


def test_servers_that_are_away_when_a_drain_leads_there_are_one_round():
    made = in_session(abilities=Abilities(ask_servers=True))
    goodbye = Disconnected("draining", "", (str(A), str(B)), 1)
    assert made.disconnected(goodbye, 100.0) == ReconnectPlan(NextStep.CONNECT, 0.5, A)
    assert made.lost(100.0) == ReconnectPlan(NextStep.CONNECT, 0.5, B)
    assert made.lost(100.0) == ReconnectPlan(NextStep.ASK_SERVERS, 0.5)


def test_a_server_that_accepts_and_fails_at_once_is_backed_off_from():
    made = policy(A, B, draw=1.0)
    made.start()
    delays = []
    for _ in range(6):
        made.accepted(0.0)
        delays.append(made.lost(0.0).delay_seconds)
    assert delays == [1, 1, 2, 2, 4, 4]


def test_failures_go_round_the_servers_with_full_jitter():
    made = policy(A, B)
    assert made.start() == ReconnectPlan(NextStep.CONNECT, 0.0, A)
    assert made.lost(0.0) == ReconnectPlan(NextStep.CONNECT, 0.5, B)
    assert made.lost(0.0) == ReconnectPlan(NextStep.CONNECT, 0.5, A)
    assert made.lost(0.0) == ReconnectPlan(NextStep.CONNECT, 1.0, B)


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_a_delay_never_passes_60_seconds(rounds: int, draw: float):
    assert 0 <= draw * backoff_ceiling_seconds(rounds) <= 60


def test_a_stable_session_ends_the_count_and_a_short_one_does_not():
    made = policy(A)
    made.start()
    for _ in range(4):
        made.lost(0.0)
    made.accepted(0.0)
    assert made.lost(STABLE_SECONDS - 1).delay_seconds == 8.0
    made.accepted(20.0)
    assert made.lost(20.0 + STABLE_SECONDS).delay_seconds == 0.5


def test_a_session_that_is_sent_elsewhere_ends_the_count_however_short_it_was():
    """Else a device that is in the way of a roll waits longer after each connector."""
    made = policy(A)
    made.start()
    for _ in range(4):
        made.lost(0.0)
    made.accepted(0.0)
    made.disconnected(Disconnected("draining", "", (str(B),), 0), 1.0)
    assert made.lost(1.0).delay_seconds == 0.5


def test_after_a_session_the_first_server_comes_first_again():
    made = policy(A, B)
    made.start()
    assert made.lost(0.0).server == B
    made.accepted(0.0)
    assert made.lost(100.0).server == A


# --- CONNECT_ACK, cell by cell -------------------------------------------------------------------

STOPS = {
    ConnectStatus.UNACCEPTABLE_PROTOCOL_VERSION: errors.ProtocolRejected,
    ConnectStatus.NOT_AUTHORIZED: errors.NotAuthorized,
}


@pytest.mark.parametrize(("status", "kind"), STOPS.items())
def test_a_final_status_stops_whatever_the_client_can_do(status: int, kind: type[errors.Stopped]):
    made = policy(A, abilities=EVERYTHING)
    made.start()
    plan = made.refused(refusal(status), 0.0)
    assert plan.do is NextStep.STOP
    assert type(plan.error) is kind
    assert plan.error.code == "code"


@pytest.mark.parametrize("status", [3, 7, 8, 100])
def test_unavailable_reserved_and_unknown_statuses_back_off(status: int):
    made = policy(A)
    made.start()
    assert made.refused(refusal(status), 0.0) == ReconnectPlan(NextStep.CONNECT, 0.5, A)


def test_after_is_waited_for_beside_the_jitter_and_bounded():
    made = policy(A)
    made.start()
    assert made.refused(refusal(3, after=20), 0.0).delay_seconds == 20.5
    assert made.refused(refusal(3, after=10**9), 0.0).delay_seconds == 3601.0
    assert made.refused(refusal(3, after=-5), 0.0).delay_seconds == 2.0


def test_an_unknown_token_registers_again_at_the_same_server_then_slower():
    made = policy(A, B, abilities=Abilities(register=True))
    made.start()
    assert made.refused(refusal(2), 0.0) == ReconnectPlan(NextStep.REGISTER, 0.0, A)
    assert made.refused(refusal(2), 0.0) == ReconnectPlan(NextStep.REGISTER, 0.5, A)
    made.accepted(0.0)
    made.start()
    assert made.refused(refusal(2), 100.0).delay_seconds == 0.0


def test_an_unknown_token_without_a_key_is_final():
    made = policy(A, abilities=Abilities(renew=True, ask_servers=True))
    made.start()
    assert type(made.refused(refusal(2), 0.0).error) is errors.UnknownToken


def test_bad_credentials_ask_the_application_a_few_times():
    made = policy(A, B, abilities=Abilities(renew=True))
    made.start()
    plans = [made.refused(refusal(4), 0.0) for _ in range(MAX_CREDENTIAL_TRIALS + 1)]
    assert plans[0] == ReconnectPlan(NextStep.RENEW, 0.0, A)
    assert [plan.do for plan in plans] == [NextStep.RENEW] * MAX_CREDENTIAL_TRIALS + [NextStep.STOP]
    assert all(plan.delay_seconds > 0 for plan in plans[1:-1])
    assert type(plans[-1].error) is errors.BadCredentials


def test_bad_credentials_that_cannot_be_renewed_are_final():
    made = policy(A, abilities=Abilities(register=True, ask_servers=True))
    made.start()
    assert type(made.refused(refusal(4), 0.0).error) is errors.BadCredentials


# --- Redirects -----------------------------------------------------------------------------------


def test_a_redirect_is_followed_after_a_random_part_of_after():
    made = policy(A)
    made.start()
    plan = made.refused(refusal(6, after=10, servers=("tls://b:2", "tls://a:1")), 0.0)
    assert plan == ReconnectPlan(NextStep.CONNECT, 5.0, B)
    assert made.lost(0.0).server == A  # the second of the redirect


def test_at_most_three_hops_then_the_list_is_asked_for():
    made = policy(A, abilities=Abilities(ask_servers=True))
    made.start()
    plans = [made.refused(refusal(6, servers=("tls://b:2",)), 0.0) for _ in range(MAX_HOPS + 1)]
    assert [plan.do for plan in plans] == [NextStep.CONNECT] * MAX_HOPS + [NextStep.ASK_SERVERS]
    assert made.servers_found(["ws://x/ws", "tls://c:9"]).server == ServerAddress("tls", "c", 9)
    assert made.refused(refusal(6, servers=("tls://b:2",)), 0.0).do is NextStep.CONNECT


def test_after_three_hops_without_a_list_the_configured_servers_are_tried():
    made = policy(A)
    made.start()
    plans = [made.refused(refusal(6, servers=("tls://b:2",)), 0.0) for _ in range(MAX_HOPS + 1)]
    assert plans[-1] == ReconnectPlan(NextStep.CONNECT, 0.5, A)


def test_an_accepted_connect_ends_the_count_of_hops():
    made = policy(A)
    made.start()
    for _ in range(2 * MAX_HOPS):
        assert made.refused(refusal(6, servers=("tls://b:2",)), 0.0).server == B
        made.accepted(0.0)


@pytest.mark.parametrize("servers", [(), ("tcp://p:3",), ("ws://a/ws", "nonsense", "tls://")])
def test_a_redirect_never_goes_from_tls_to_plain_nor_nowhere(servers: tuple[str, ...]):
    made = policy(A)
    made.start()
    assert made.refused(refusal(6, servers=servers), 0.0) == ReconnectPlan(NextStep.CONNECT, 0.5, A)


def test_a_redirect_may_go_from_plain_to_anything():
    made = policy(PLAIN)
    made.start()
    assert made.refused(refusal(6, servers=("tcp://q:3",)), 0.0).server is not None
    assert made.refused(refusal(6, servers=("tls://a:1",)), 0.0).server == A
    assert made.refused(refusal(6, servers=("tcp://q:3",)), 0.0).server == PLAIN


def test_a_list_from_the_network_names_plain_servers_only_to_who_had_one():
    assert policy(A, abilities=EVERYTHING).servers_found(["tcp://q:1"]).server == A
    assert policy(PLAIN, abilities=EVERYTHING).servers_found(["tcp://q:1"]).server != PLAIN
    plain = policy(abilities=EVERYTHING, plain=True).servers_found(["tcp://q:1"])
    assert plain.server == ServerAddress("tcp", "q", 1)
    secure = policy(abilities=EVERYTHING, plain=False).servers_found(["tcp://q:1"])
    assert secure.do is NextStep.ASK_SERVERS


def test_without_servers_the_list_is_asked_for_again_and_again():
    made = policy(abilities=Abilities(ask_servers=True))
    assert made.start() == ReconnectPlan(NextStep.ASK_SERVERS)
    assert made.servers_failed() == ReconnectPlan(NextStep.ASK_SERVERS, 0.5)
    assert made.servers_found(["tls://a:1"]) == ReconnectPlan(NextStep.CONNECT, 0.0, A)
    made.accepted(0.0)
    assert made.lost(100.0).do is NextStep.ASK_SERVERS


def test_nowhere_to_go_is_a_wrong_configuration():
    with pytest.raises(errors.ConfigurationError):
        policy()


# --- DISCONNECT, cell by cell --------------------------------------------------------------------

FINAL = {
    DisconnectCode.TAKEN_OVER: errors.TakenOver,
    DisconnectCode.KICKED: errors.Kicked,
    DisconnectCode.BAD_FRAME: errors.ProtocolRejected,
    DisconnectCode.FRAME_TOO_LARGE: errors.ProtocolRejected,
}
TEMPORARY = [
    DisconnectCode.BYE,
    DisconnectCode.HEARTBEAT_TIMEOUT,
    DisconnectCode.HANDSHAKE_TIMEOUT,
    DisconnectCode.RATE_LIMITED,
    DisconnectCode.INTERNAL,
    "from_the_future",
]


def test_every_code_is_in_a_test():
    rest = {DisconnectCode.DRAINING, DisconnectCode.CREDENTIALS_EXPIRED}
    assert {*FINAL, *TEMPORARY} | rest == {*DisconnectCode, "from_the_future"}


@pytest.mark.parametrize(("code", "kind"), FINAL.items())
def test_final_codes_stop(code: str, kind: type[errors.Stopped]):
    plan = in_session(A, abilities=EVERYTHING).disconnected(Disconnected(code, "why"), 100.0)
    assert plan.do is NextStep.STOP
    assert type(plan.error) is kind
    assert "why" in str(plan.error)


@pytest.mark.parametrize("code", TEMPORARY)
def test_other_and_unknown_codes_back_off(code: str):
    assert in_session(A).disconnected(Disconnected(code, ""), 100.0) == ReconnectPlan(
        NextStep.CONNECT, 0.5, A
    )
    later = in_session(A).disconnected(Disconnected(code, "", (), 7), 100.0)
    assert later == ReconnectPlan(NextStep.CONNECT, 7.5, A)


def test_a_kick_with_after_is_a_pause():
    plan = in_session(A).disconnected(Disconnected("kicked", "", (), 30), 100.0)
    assert plan == ReconnectPlan(NextStep.CONNECT, 30.5, A)


def test_draining_goes_to_the_servers_named_after_a_random_part_of_after():
    goodbye = Disconnected("draining", "", ("tcp://p:3", "tls://b:2"), 60)
    assert in_session(A).disconnected(goodbye, 100.0) == ReconnectPlan(NextStep.CONNECT, 30.0, B)


def test_draining_to_nowhere_backs_off():
    goodbye = Disconnected("draining", "", (), 4)
    assert in_session(A).disconnected(goodbye, 100.0) == ReconnectPlan(NextStep.CONNECT, 4.5, A)


def test_expired_credentials_are_renewed_or_final():
    goodbye = Disconnected("credentials_expired", "")
    able = in_session(A, abilities=Abilities(renew=True))
    assert able.disconnected(goodbye, 100.0) == ReconnectPlan(NextStep.RENEW, 0.0, A)
    assert type(in_session(A).disconnected(goodbye, 100.0).error) is errors.CredentialsExpired


# --- The rest ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["rate_limited", "unavailable", "internal"])
def test_a_registration_refused_for_now_backs_off(code: str):
    made = policy(A)
    made.start()
    plan = made.registration_refused(RegistrationRefused(code, "", 6), 0.0)
    assert plan == ReconnectPlan(NextStep.CONNECT, 6.5, A)


@pytest.mark.parametrize("code", ["unauthenticated", "forbidden", "invalid", "new_code"])
def test_a_registration_refused_for_good_is_final(code: str):
    made = policy(A)
    made.start()
    plan = made.registration_refused(RegistrationRefused(code, ""), 0.0)
    assert type(plan.error) is errors.RegistrationFailed


def test_an_untrusted_certificate_is_final_only_before_the_first_session():
    made = policy(A)
    made.start()
    assert type(made.untrusted("why", 0.0).error) is errors.ServerUntrusted
    assert in_session(A).untrusted("why", 100.0).do is NextStep.CONNECT


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("tls://host:1", "tls://host:1"),
        ("tls://host", "tls://host:6790"),
        ("tcp://host/", "tcp://host:6789"),
        ("tls://[::1]:7", "tls://[::1]:7"),
    ],
)
def test_server_urls(url: str, text: str):
    assert str(parse_server(url)) == text


@pytest.mark.parametrize(
    "url",
    ["", "host:1", "http://h", "ws://h/ws", "tls://", "tls://h:99999", "tls://h/x", "tls://["],
)
def test_wrong_server_urls_are_named(url: str):
    with pytest.raises(errors.ConfigurationError):
        parse_server(url)


def test_what_this_client_cannot_use_is_left_out_of_a_list():
    assert usable_servers(["wss://h/ws", "tcp://p:3", ""], plain_allowed=True) == [PLAIN]
    assert usable_servers(["wss://h/ws", "tls://a:1", ""], plain_allowed=True) == [A]
    assert usable_servers(["tcp://p:3"], plain_allowed=False) == []


# --- TLS never gives way to plain ----------------------------------------------------------------

MIXED = ["tcp://p:3", "tls://a:1", "tcp://q:4", "tls://b:2"]


def lost_again_and_again(
    made: Policy, first: ReconnectPlan, times: int = 12
) -> list[ReconnectPlan]:
    return [first, *(made.lost(100.0) for _ in range(times))]


def test_of_a_mixed_list_only_the_tls_servers_are_tried():
    assert usable_servers(MIXED, plain_allowed=True) == [A, B]
    made = policy(*map(parse_server, MIXED))
    for plan in lost_again_and_again(made, made.start()):
        assert plan.server in (A, B)


@pytest.mark.parametrize("servers", [(), (PLAIN,)])
def test_of_a_mixed_answer_only_the_tls_servers_are_tried(servers: tuple[ServerAddress, ...]):
    made = policy(*servers, abilities=EVERYTHING)
    made.start()
    assert made.servers_found(MIXED) == ReconnectPlan(NextStep.CONNECT, 0.0, A)
    assert made.lost(0.0).server == B


def test_once_a_tls_server_was_known_no_plain_one_from_the_network_is_tried():
    made = policy(abilities=EVERYTHING)
    made.start()
    made.servers_found(["tls://a:1"])
    assert made.lost(0.0).do is NextStep.ASK_SERVERS
    assert made.servers_found(["tcp://p:3"]).do is NextStep.ASK_SERVERS
    assert made.servers_found(["tls://b:2"]).server == B
    redirect = refusal(6, servers=("tcp://p:3",))
    assert made.refused(redirect, 0.0).do is NextStep.ASK_SERVERS


@pytest.mark.parametrize("told", [MIXED, ["tls://a:1"]])
def test_a_plain_session_that_is_told_of_tls_servers_is_told_no_plain_ones_any_more(
    told: list[str],
):
    drained = in_session(PLAIN)
    plan = drained.disconnected(Disconnected("draining", "", tuple(told), 0), 100.0)
    assert plan.server == A
    drained.accepted(100.0)
    plan = drained.disconnected(Disconnected("draining", "", ("tcp://q:4",), 0), 200.0)
    assert plan.server != parse_server("tcp://q:4")
    redirected = policy(PLAIN)
    redirected.start()
    assert redirected.refused(refusal(6, servers=tuple(told)), 0.0).server == A


def test_plain_servers_that_the_application_names_are_its_decision():
    made = policy(PLAIN)
    for plan in lost_again_and_again(made, made.start()):
        assert plan.server == PLAIN


@given(
    configured=st.lists(st.sampled_from([A, B, PLAIN]), min_size=1, max_size=4),
    told=st.lists(st.lists(st.sampled_from([*MIXED, "ws://x/ws"]), max_size=4), max_size=8),
    ways=st.lists(st.sampled_from(["found", "redirect", "drain", "lost", "untrusted"]), max_size=8),
)
def test_no_word_from_the_network_leads_a_client_of_tls_to_plain(
    configured: list[ServerAddress], told: list[list[str]], ways: list[str]
):
    made = policy(*configured, abilities=EVERYTHING)
    plan = made.start()
    made.accepted(0.0)
    knows_tls = any(server.secure for server in configured)
    for urls, way in zip(told, ways, strict=False):
        match way:
            case "found":
                plan = made.servers_found(urls)
            case "redirect":
                plan = made.refused(refusal(6, servers=tuple(urls)), 100.0)
            case "drain":
                plan = made.disconnected(Disconnected("draining", "", tuple(urls), 0), 100.0)
            case "lost":
                plan = made.lost(100.0)
            case "untrusted":
                plan = made.untrusted("", 100.0)
        knows_tls = knows_tls or (way in ("found", "redirect", "drain") and "tls" in str(urls))
        if plan.server is not None and knows_tls and plan.server not in configured:
            assert plan.server.secure
        if any(server.secure for server in configured):
            assert plan.server is None or plan.server.secure


# --- Bans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "seconds"), [(0, 0), (30, 30), (86_400, 86_400), (10**9, 86_400)]
)
def test_a_ban_that_ends_is_waited_for_for_a_day_at_most(after: int, seconds: int):
    banned = policy(A)
    banned.start()
    assert banned.refused(refusal(5, after), 0.0) == ReconnectPlan(
        NextStep.CONNECT, seconds + 0.5, A
    )
    goodbye = Disconnected("kicked", "", (), after)
    assert in_session(A).disconnected(goodbye, 100.0) == ReconnectPlan(
        NextStep.CONNECT, seconds + 0.5, A
    )
    unregistered = policy(A)
    unregistered.start()
    plan = unregistered.registration_refused(RegistrationRefused("banned", "", after), 0.0)
    assert plan == ReconnectPlan(NextStep.CONNECT, seconds + 0.5, A)


def test_a_ban_without_an_end_is_final():
    banned = policy(A)
    banned.start()
    assert type(banned.refused(refusal(5), 0.0).error) is errors.NotAuthorized
    unregistered = policy(A)
    unregistered.start()
    plan = unregistered.registration_refused(RegistrationRefused("banned", ""), 0.0)
    assert type(plan.error) is errors.RegistrationFailed
