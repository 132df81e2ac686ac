"""What a client does next. Pure: no sockets, no clock, no random source of its own.

The shell performs a `ReconnectPlan` and reports what came of it; the answer is the next plan.
Which status
and which code means what is in two tables, taken from the contract ("Bodies": CONNECT_ACK,
DISCONNECT).

Back-off is exponential with full jitter: a random part of a ceiling that begins at 1 s and doubles
up to 60 s, once for each round over the servers of the list in use: the configured one, that of
GET /v1/servers, or that of a redirect or a drain. A session that held for `STABLE_SECONDS` ends the
count, and so does one that its server ended in order to be drained.

A client that knows a TLS server does not go to a plain one by itself: of every list with a TLS
server only the TLS ones are used, and once one was known, no plain server from the network is.
Plain servers that the application configured, all of them plain, are its own decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from push.sdk.address import ServerAddress, usable_servers, without_fallback
from push.sdk.errors import (
    BadCredentials,
    ConfigurationError,
    CredentialsExpired,
    Kicked,
    NotAuthorized,
    ProtocolRejected,
    RegistrationFailed,
    ServerUntrusted,
    Stopped,
    TakenOver,
    UnknownToken,
)
from push.session.client.events import ConnectionRefused, Disconnected, RegistrationRefused
from push.wire.signals import ConnectStatus, DisconnectCode

FIRST_CEILING_SECONDS = 1.0
MAX_CEILING_SECONDS = 60.0
STABLE_SECONDS = 10.0
MAX_HOPS = 3
MAX_AFTER_SECONDS = 3600  # a server may ask for patience, within bounds
MAX_BAN_SECONDS = 86_400  # a longer ban answers again, and says how long it still holds
MAX_CREDENTIAL_TRIALS = 3


class NextStep(Enum):
    """What the shell is to do, after the plan's delay."""

    CONNECT = auto()  # connect to `server`
    REGISTER = auto()  # forget the token; connect to `server` and register first
    RENEW = auto()  # ask the application for new credentials; then connect to `server`
    ASK_SERVERS = auto()  # GET /v1/servers, then `servers_found` or `servers_failed`
    STOP = auto()  # raise `error`


class ReconnectRule(Enum):
    """A cell of the two tables."""

    BACK_OFF = auto()
    STOP = auto()
    REGISTER = auto()
    RENEW = auto()
    REDIRECT = auto()
    DRAIN = auto()
    STOP_UNLESS_AFTER = auto()


CONNECT_RESPONSES: dict[int, ReconnectRule] = {
    ConnectStatus.UNACCEPTABLE_PROTOCOL_VERSION: ReconnectRule.STOP,
    ConnectStatus.IDENTIFIER_REJECTED: ReconnectRule.REGISTER,
    ConnectStatus.SERVER_UNAVAILABLE: ReconnectRule.BACK_OFF,
    ConnectStatus.BAD_CREDENTIALS: ReconnectRule.RENEW,
    ConnectStatus.NOT_AUTHORIZED: ReconnectRule.STOP_UNLESS_AFTER,
    ConnectStatus.USE_ANOTHER_SERVER: ReconnectRule.REDIRECT,
}

DISCONNECT_RESPONSES: dict[str, ReconnectRule] = {
    DisconnectCode.TAKEN_OVER: ReconnectRule.STOP,
    DisconnectCode.KICKED: ReconnectRule.STOP_UNLESS_AFTER,
    DisconnectCode.DRAINING: ReconnectRule.DRAIN,
    DisconnectCode.BAD_FRAME: ReconnectRule.STOP,
    DisconnectCode.FRAME_TOO_LARGE: ReconnectRule.STOP,
    DisconnectCode.CREDENTIALS_EXPIRED: ReconnectRule.RENEW,
}

# A refused SUB with one of these may be granted later; with any other code it never will be.
TEMPORARY_CODES = frozenset({"rate_limited", "unavailable", "internal"})
BANNED = "banned"  # for now, if it comes with `after`

_STOPPED_BY_STATUS: dict[int, type[Stopped]] = {
    ConnectStatus.UNACCEPTABLE_PROTOCOL_VERSION: ProtocolRejected,
    ConnectStatus.IDENTIFIER_REJECTED: UnknownToken,
    ConnectStatus.BAD_CREDENTIALS: BadCredentials,
    ConnectStatus.NOT_AUTHORIZED: NotAuthorized,
}
_STOPPED_BY_CODE: dict[str, type[Stopped]] = {
    DisconnectCode.TAKEN_OVER: TakenOver,
    DisconnectCode.KICKED: Kicked,
    DisconnectCode.BAD_FRAME: ProtocolRejected,
    DisconnectCode.FRAME_TOO_LARGE: ProtocolRejected,
    DisconnectCode.CREDENTIALS_EXPIRED: CredentialsExpired,
}


@dataclass(frozen=True, slots=True)
class ReconnectPlan:
    """`asked_seconds`: the part of the delay that the server asked for. The rest is our own."""

    do: NextStep
    delay_seconds: float = 0.0
    server: ServerAddress | None = None
    error: Stopped | None = None
    asked_seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a client can do beside connecting, which decides what is fatal for it.

    `register`: it has a key and may take a new token. `renew`: the application can make new
    credentials. `ask_servers`: it knows where GET /v1/servers is.
    """

    register: bool = False
    renew: bool = False
    ask_servers: bool = False


def backoff_ceiling_seconds(rounds: int) -> float:
    """The largest delay after all servers have failed `rounds` times in a row."""
    return min(FIRST_CEILING_SECONDS * 2.0 ** min(rounds, 32), MAX_CEILING_SECONDS)


class Policy:
    """The small state machine behind every client. `random()` gives 0 ≤ x < 1."""

    def __init__(
        self,
        servers: Sequence[ServerAddress],
        abilities: Abilities,
        random: Callable[[], float],
        *,
        plain_allowed: bool = True,
    ) -> None:
        """`plain_allowed` is about lists from the network when no servers are configured."""
        if not servers and not abilities.ask_servers:
            raise ConfigurationError("servers: give at least one server, or servers_url")
        servers = without_fallback(servers)
        self._servers = servers
        self._abilities = abilities
        self._random = random
        if servers:
            plain_allowed = not servers[0].secure
        self._plain_allowed = plain_allowed
        self._candidates = list(servers)
        self._current: ServerAddress | None = None
        self._listed = len(servers)  # in the list that the candidates are left of
        self._rounds = 0
        self._failures_of_round = 0
        self._hops = 0
        self._credential_trials = 0
        self._registration_trials = 0
        self._accepted_at: float | None = None
        self._ever_accepted = False

    # --- What the shell reports ---------------------------------------------------------------

    def start(self) -> ReconnectPlan:
        return self._next(0.0)

    def accepted(self, now: float) -> None:
        """CONNECT_ACK ACCEPTED came. `now`: monotonic seconds."""
        self._accepted_at = now
        self._ever_accepted = True
        self._hops = self._credential_trials = self._registration_trials = 0
        self._use(self._servers)

    def lost(self, now: float) -> ReconnectPlan:
        """The connection could not be made, died, broke the protocol or ended without a word."""
        self._settle(now)
        return self._back_off()

    def untrusted(self, detail: str, now: float) -> ReconnectPlan:
        """TLS failed on the certificate.

        Before the first session it is a wrong configuration and final; later it may be a network
        that intercepts connections for a while.
        """
        self._settle(now)
        if not self._ever_accepted:
            return ReconnectPlan(NextStep.STOP, error=ServerUntrusted("", detail))
        return self._back_off()

    def refused(self, refusal: ConnectionRefused, now: float) -> ReconnectPlan:
        """CONNECT_ACK with another status."""
        self._settle(now)
        response = CONNECT_RESPONSES.get(refusal.status, ReconnectRule.BACK_OFF)
        stopped = _STOPPED_BY_STATUS.get(refusal.status, Stopped)
        error = stopped(refusal.code, refusal.detail)
        if response is ReconnectRule.STOP_UNLESS_AFTER:
            return self._come_back_after(refusal.after_seconds, error)
        if response is ReconnectRule.STOP:
            return ReconnectPlan(NextStep.STOP, error=error)
        if response is ReconnectRule.REDIRECT:
            return self._redirect(refusal.servers, refusal.after_seconds)
        if response is ReconnectRule.REGISTER:
            return self._register_again(error)
        if response is ReconnectRule.RENEW:
            return self._renew(error)
        return self._back_off(refusal.after_seconds)

    def registration_refused(self, refusal: RegistrationRefused, now: float) -> ReconnectPlan:
        """SUB was answered with no."""
        self._settle(now)
        if refusal.code in TEMPORARY_CODES:
            return self._back_off(refusal.after_seconds)
        error = RegistrationFailed(refusal.code, refusal.detail)
        if refusal.code == BANNED:
            return self._come_back_after(refusal.after_seconds, error)
        return ReconnectPlan(NextStep.STOP, error=error)

    def disconnected(self, goodbye: Disconnected, now: float) -> ReconnectPlan:
        """DISCONNECT came, in a session or before it."""
        response = DISCONNECT_RESPONSES.get(goodbye.code, ReconnectRule.BACK_OFF)
        self._settle(now, in_order=response is ReconnectRule.DRAIN)
        stopped = _STOPPED_BY_CODE.get(goodbye.code, Stopped)
        if response is ReconnectRule.STOP_UNLESS_AFTER:
            error = stopped(goodbye.code, goodbye.reason)
            return self._come_back_after(goodbye.after_seconds, error)
        if response is ReconnectRule.STOP:
            return ReconnectPlan(NextStep.STOP, error=stopped(goodbye.code, goodbye.reason))
        if response is ReconnectRule.RENEW:
            return self._renew(stopped(goodbye.code, goodbye.reason))
        if response is ReconnectRule.DRAIN:
            return self._drain(goodbye)
        return self._back_off(goodbye.after_seconds)

    def servers_found(self, urls: Iterable[str]) -> ReconnectPlan:
        """GET /v1/servers answered."""
        found = self.allowed(urls)
        if not found:
            return self.servers_failed()
        self._hops = 0
        self._use(found)
        return self._next(0.0)

    def servers_failed(self) -> ReconnectPlan:
        """GET /v1/servers gave nothing to use."""
        self._hops = 0
        return self._back_off()

    def allowed(self, urls: Iterable[str]) -> list[ServerAddress]:
        """Of a list from the network; with the first TLS server that it names, plain is over."""
        found = usable_servers(urls, plain_allowed=self._plain_allowed)
        if any(server.secure for server in found):
            self._plain_allowed = False
        return found

    # --- How it decides -------------------------------------------------------------------------

    def _settle(self, now: float, *, in_order: bool = False) -> None:
        """End the present session, if there was one; a good one ends the count of failures."""
        if self._accepted_at is not None and (
            in_order or now - self._accepted_at >= STABLE_SECONDS
        ):
            self._rounds = self._failures_of_round = 0
        self._accepted_at = None

    def _jitter(self) -> float:
        """The delay after one more failure."""
        ceiling = backoff_ceiling_seconds(self._rounds)
        self._failures_of_round += 1
        if self._failures_of_round >= self._listed:
            self._rounds += 1
            self._failures_of_round = 0
        return self._random() * ceiling

    def _use(self, servers: Sequence[ServerAddress]) -> None:
        """Go by another list. What has failed of the round counts on: else a server that accepts
        and fails at once would be tried every second without end."""
        self._candidates = list(servers)
        self._listed = len(servers)

    def _back_off(self, after_seconds: int | None = None) -> ReconnectPlan:
        asked = _bounded(after_seconds)
        return self._next(asked + self._jitter(), asked)

    def _come_back_after(self, after_seconds: int | None, error: Stopped) -> ReconnectPlan:
        """A ban: for a while when it names one, else permanently."""
        if after_seconds is None:
            return ReconnectPlan(NextStep.STOP, error=error)
        asked = _bounded(after_seconds, MAX_BAN_SECONDS)
        return self._next(asked + self._jitter(), asked)

    def _next(self, delay_seconds: float, asked_seconds: float = 0.0) -> ReconnectPlan:
        """The next candidate; with none left the configured list again, or ask for a list."""
        if not self._candidates:
            if not self._servers:
                return ReconnectPlan(
                    NextStep.ASK_SERVERS, delay_seconds, asked_seconds=asked_seconds
                )
            self._use(self._servers)
        self._current = self._candidates.pop(0)
        return ReconnectPlan(
            NextStep.CONNECT, delay_seconds, self._current, asked_seconds=asked_seconds
        )

    def _redirect(self, urls: Iterable[str], after_seconds: int | None) -> ReconnectPlan:
        """USE_ANOTHER_SERVER: at most `MAX_HOPS` in a row, and never from TLS to plain."""
        targets = self.allowed(urls)
        self._hops += 1
        if targets and self._hops <= MAX_HOPS:
            self._use(targets)
            return self._next_spread(after_seconds)
        self._hops = 0
        self._candidates = []
        if self._abilities.ask_servers:
            return ReconnectPlan(NextStep.ASK_SERVERS, self._jitter())
        return self._back_off(after_seconds)

    def _drain(self, goodbye: Disconnected) -> ReconnectPlan:
        """Leave for `servers` after a random part of `after`, so that not all arrive at once."""
        targets = self.allowed(goodbye.servers)
        if not targets:
            return self._back_off(goodbye.after_seconds)
        self._use(targets)
        return self._next_spread(goodbye.after_seconds)

    def _next_spread(self, after_seconds: int | None) -> ReconnectPlan:
        """A random part of what the server asks for: not all clients arrive at once."""
        delay = self._random() * _bounded(after_seconds)
        return self._next(delay, delay)

    def _register_again(self, error: Stopped) -> ReconnectPlan:
        """At once the first time; a server that rejects the token it just gave is backed off."""
        if not self._abilities.register:
            return ReconnectPlan(NextStep.STOP, error=error)
        self._registration_trials += 1
        return ReconnectPlan(
            NextStep.REGISTER, self._delay_of_trial(self._registration_trials), self._current
        )

    def _renew(self, error: Stopped) -> ReconnectPlan:
        """New credentials, at once the first time; credentials refused three times are wrong."""
        if not self._abilities.renew or self._credential_trials == MAX_CREDENTIAL_TRIALS:
            return ReconnectPlan(NextStep.STOP, error=error)
        self._credential_trials += 1
        return ReconnectPlan(
            NextStep.RENEW, self._delay_of_trial(self._credential_trials), self._current
        )

    def _delay_of_trial(self, trial: int) -> float:
        return 0.0 if trial == 1 else self._jitter()


def _bounded(after_seconds: int | None, most: int = MAX_AFTER_SECONDS) -> float:
    return float(min(max(after_seconds or 0, 0), most))
