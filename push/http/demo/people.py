"""The users of the demo: each has a page, a device, and not much time.

They are kept in memory, by the ticket that a page got, and all end with the process. A journal in
the data folder names them, so that a process that was killed leaves nothing behind: the next one
erases what the journal names.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from push.chat.erasure import Erasure
from push.devices.registration import Devices
from push.http.demo.bodies import USER_PREFIX
from push.http.demo.names import made_up_name
from push.http.demo.room import Room
from push.redis.connection.errors import StoreUnavailable
from push.runtime.ports import Clock
from push.runtime.tasks import Semaphore, within
from push.runtime.timers import Periodic
from push.wire.addresses import counted_ip, is_loopback_peer
from push.wire.errors import RequestError

log = Logger()

MAX_PEOPLE = 100
MAX_PER_ADDRESS = 20  # of another machine, so that none takes the whole room
IDLE_SECONDS = 15 * 60  # a page in the background asks once a minute
LONGEST_SECONDS = 2 * 60 * 60
HERE_SECONDS = 10
SWEEP_SECONDS = 5.0
STOP_SECONDS = 5.0
TICKET_BYTES = 16
HOST = f"{USER_PREFIX}host"  # owns the group


@dataclass
class Person:
    """A user of the demo, their device, and what their page did."""

    user: str
    token: str
    ticket: str
    address: str
    began: float
    asked: float
    last_message: str = ""  # the id of the last push
    used: dict[str, tuple[float, int]] = field(default_factory=dict)
    cut_until: float = 0.0

    def take(self, what: str, per_minute: int, now: float) -> None:
        """One more of `what`, or `RequestError` `rate_limited`."""
        since, count = self.used.get(what, (now, 0))
        if now - since >= 60:
            since, count = now, 0
        if count >= per_minute:
            raise RequestError(
                "rate_limited",
                f"more than {per_minute} {what} a minute",
                after_seconds=max(1, int(60 - (now - since))),
            )
        self.used[what] = (since, count + 1)


class Leftover(msgspec.Struct, frozen=True):
    """A user to erase, and the device to forget; "" is none."""

    user: str
    token: str


class People:
    """Everybody of the demo. Raises `RequestError` and, as all that writes, `StoreUnavailable`."""

    def __init__(
        self,
        clock: Clock,
        devices: Devices,
        erasure: Erasure,
        room: Room,
        journal: Path,
    ) -> None:
        self._clock = clock
        self._devices = devices
        self._erasure = erasure
        self._room = room
        self._journal = journal
        self._by_ticket: dict[str, Person] = {}
        self._names: set[str] = set()
        self._leftovers: list[Leftover] = []
        self._joining = Semaphore(1)
        self._erasing = Semaphore(1)
        self._sweeps = Periodic(clock, SWEEP_SECONDS, self._sweep, _log_failure)

    def __iter__(self) -> Iterator[Person]:
        return iter(list(self._by_ticket.values()))

    def __len__(self) -> int:
        return len(self._by_ticket)

    # --- the life of the demo --------------------------------------------------------------------

    def start(self) -> None:
        self._leftovers = self._read_journal()
        self._names.update(leftover.user for leftover in self._leftovers)
        self._sweeps.start(now=True)

    async def stop(self) -> None:
        """Erase everybody. What Redis does not take soon is left to the next start."""
        self._sweeps.stop()
        for person in self:
            self._let_go(person)
        if self._room.group:
            self._leftovers.append(Leftover(HOST, ""))
            self._room.group = ""
        self._write_journal()
        erased = Deferred.fromCoroutine(self._erase_leftovers())
        with contextlib.suppress(TimeoutError):
            await within(STOP_SECONDS, self._clock, erased, TimeoutError)

    # --- a page ----------------------------------------------------------------------------------

    async def join(self, name: str | None, ip: str) -> tuple[Person, str]:
        """A new user with a device, and its secret. `name` None: one is made up.

        Raises `RequestError`: `already_exists`, `rate_limited`, `banned`, `unavailable` (full).
        """
        async with self._joining:
            if HOST in self._names:
                raise RequestError(
                    "unavailable", "the demo clears up after its last run", after_seconds=1
                )
            if len(self) >= MAX_PEOPLE:
                raise RequestError(
                    "unavailable", "the demo has no room at the moment", after_seconds=60
                )
            self._check_address(ip)
            user = await self._free_user(name)
            pair = await self._devices.register(platform="browser", app="push demo", ip=ip)
            now = self._clock.seconds()
            ticket = secrets.token_urlsafe(TICKET_BYTES)
            person = Person(user, pair.token, ticket, counted_ip(ip), began=now, asked=now)
            self._by_ticket[ticket] = person
            self._names.add(user)
            self._write_journal()
            try:
                await self._devices.bind(user, pair.token)
                await self._room.add(user)
            except BaseException:
                self._let_go(person)
                raise
            self._write_journal()  # the group's owner is in it now
        return person, pair.secret

    def _check_address(self, ip: str) -> None:
        own = sum(1 for person in self if person.address == counted_ip(ip))
        if own >= MAX_PER_ADDRESS and not is_loopback_peer(ip):
            raise RequestError(
                "rate_limited",
                f"{MAX_PER_ADDRESS} pages of the demo are open from this address",
                after_seconds=60,
            )

    def of(self, ticket: str) -> Person:
        """Whose page it is; raises `RequestError` `unauthenticated` when their time is over."""
        person = self._by_ticket.get(ticket)
        if person is None:
            raise RequestError("unauthenticated", "this page's demo user has ended; begin again")
        person.asked = self._clock.seconds()
        return person

    def is_here(self, person: Person) -> bool:
        """Whether their page asked a moment ago."""
        return self._clock.seconds() - person.asked < HERE_SECONDS

    def has(self, user: str) -> bool:
        return any(person.user == user for person in self)

    def seconds_left(self, person: Person) -> float:
        return person.began + LONGEST_SECONDS - self._clock.seconds()

    async def leave(self, person: Person) -> None:
        """Erase a user now."""
        self._let_go(person)
        await self._erase_leftovers()

    # --- names -----------------------------------------------------------------------------------

    async def _free_user(self, name: str | None) -> str:
        if name is None:
            user = made_up_name(lambda name: USER_PREFIX + name in self._names)
            return USER_PREFIX + user
        user = USER_PREFIX + name
        if user == HOST or user in self._names or await self._is_known(user):
            raise RequestError("already_exists", f"{user} is taken", field="name")
        return user

    async def _is_known(self, user: str) -> bool:
        """Whether there is something of such a user that a stranger must not get."""
        return bool(await self._devices.tokens_of(user)) or await self._room.knows(user)

    # --- the end ---------------------------------------------------------------------------------

    async def _sweep(self) -> None:
        now = self._clock.seconds()
        for person in self:
            if now - person.asked > IDLE_SECONDS or now - person.began > LONGEST_SECONDS:
                self._let_go(person)
        await self._erase_leftovers()

    def _let_go(self, person: Person) -> None:
        """The ticket counts no longer; the name is taken until everything is erased."""
        if self._by_ticket.pop(person.ticket, None) is not None:
            self._leftovers.append(Leftover(person.user, person.token))

    async def _erase_leftovers(self) -> None:
        """Those that Redis does not take now are tried again by the next sweep."""
        async with self._erasing:
            while self._leftovers:
                leftover = self._leftovers[0]
                try:
                    await self._erase(leftover)
                except StoreUnavailable as error:
                    log.debug(
                        "A user of the demo waits to be erased: {why}",
                        why=error.reason,
                        event="demo.erasure_postponed",
                    )
                    return
                self._leftovers.remove(leftover)
                self._names.discard(leftover.user)
                self._write_journal()

    async def _erase(self, leftover: Leftover) -> None:
        acts = ((self._erasure.erase, leftover.user), (self._devices.forget, leftover.token))
        for act, what in acts:
            if not what:
                continue
            try:
                await act(what)
            except RequestError as refusal:  # there is nothing of it any more
                log.debug(
                    "{what}: {why}", what=what, why=str(refusal), event="demo.erasure_refused"
                )

    # --- the journal -----------------------------------------------------------------------------

    def _read_journal(self) -> list[Leftover]:
        try:
            left = msgspec.json.decode(self._journal.read_bytes(), type=list[Leftover])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError) as error:
            log.warn(
                "{file} is ignored: {why}",
                file=str(self._journal),
                why=str(error),
                event="demo.journal_ignored",
            )
            return []
        # Only what the demo makes: nobody else's user is erased, whatever the file says.
        return [each for each in left if each.user.startswith(USER_PREFIX)]

    def _write_journal(self) -> None:
        """Before a user is bound, and after one was erased. A file that cannot be written costs
        nothing now: users of a process that is killed would then be left."""
        known = [Leftover(person.user, person.token) for person in self]
        if self._room.group:
            known.append(Leftover(HOST, ""))
        try:
            new = self._journal.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(known + self._leftovers))
            new.replace(self._journal)
        except OSError as error:
            log.error(
                "{file}: {why}",
                file=str(self._journal),
                why=error.strerror,
                event="demo.journal_failed",
            )


def _log_failure(failure: Failure) -> None:
    log.failure("Users of the demo could not be erased", failure, event="demo.erasure_failed")
