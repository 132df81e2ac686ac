"""People who talk to each other, on a `System`: their devices, what a backend says for them, the
faults' end and the audit."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from push.sdk.backend import PushAPI
from push.sdk.chat_types import GROUP, USER, HistoryMessage
from push.sdk.errors import PushAPIError, PushAPIUnreachable
from push.wire.idents import GROUP_PREFIX
from tests.faults.chat_audit import (
    ChatRecord,
    Said,
    check_arrivals,
    check_histories,
    check_member,
    fail_if,
    memberships,
    owner_of,
)
from tests.faults.chatting import Plan, Talker
from tests.faults.speaking import Lane, Talkers
from tests.faults.system import System

DEVICES_EACH = 2
PACE_SECONDS = 0.12
PAGE = 200
ADDED_AT_A_TIME = 500


class ChatChecked(NamedTuple):
    """What an audit looked at."""

    messages: int
    deliveries: int


class Party:
    """Everybody talks to everybody and to a group of all, from the `with` on to its end.

    `guests` come and go: they have devices and talk, and are no members at the beginning.
    """

    def __init__(
        self,
        system: System,
        users: Sequence[str],
        guests: Sequence[str] = (),
        *,
        pace_seconds: float = PACE_SECONDS,
    ) -> None:
        self.system = system
        self.said = Said()
        self.users = [*users, *guests]
        self.members = list(users)
        self.guests = list(guests)
        self._pace_seconds = pace_seconds
        with self._api() as api:
            self.group = api.create_group(users[0], "all", users[1:]).group
        self.records: list[ChatRecord] = []
        self._lanes: list[Lane] = []
        self._talkers: list[Talkers] = []
        self.users_away: list[str] = []
        self.conversation = GROUP + self.group
        self.dismissed = False
        self._start_devices()

    def _api(self) -> PushAPI:
        return PushAPI(self.system.groups[0].http_url, self.system.admin_key)

    def _start_devices(self) -> None:
        """The devices of a user prefer different connectors."""
        system = self.system
        by_place: list[list[Talker]] = [[] for _ in range(DEVICES_EACH)]
        for user in self.users:
            pairs = system.register(DEVICES_EACH)
            system.bind(user, pairs)
            for place, pair in enumerate(pairs):
                path = system.folder / f"{user}-{place}.record"
                self.records.append(ChatRecord(user, pair.token, path, self.said))
                by_place[place].append(
                    Talker(user, pair.token, pair.secret, str(path), self.talks_to(user))
                )
        urls = [connector.url for connector in system.connectors]
        for place, talkers in enumerate(by_place):
            turned = urls[place % len(urls) :] + urls[: place % len(urls)]
            process = Talkers(
                f"talkers{place}", system.folder, Plan(turned, talkers, self._pace_seconds)
            )
            self._talkers.append(process)
            system.more_processes.append(process)

    def talks_to(self, user: str) -> list[str]:
        """The group more than the others; a guest does not ask for it, which would be refused."""
        others = [f"{USER}{other}" for other in self.users if other != user][:3]
        if user in self.guests:
            return [*others, self.conversation]
        return [self.conversation, others[0], self.conversation, *others[1:]]

    def __enter__(self) -> Self:
        for process in self._talkers:
            process.start()
        for record in self.records:
            self.system.wait(
                lambda record=record: record.refresh() or record.connections,
                lambda record=record: f"{record.user} is connected {record.states}",
            )
        for number, user in enumerate(self.members[:2]):
            self.lane(f"http{number}", number).begin(self._talk_as(user))
        return self

    def lane(self, name: str, door: int = 0) -> Lane:
        groups = self.system.groups
        lane = Lane(
            groups[door % len(groups)], self.system.admin_key, name, self.said, self._pace_seconds
        )
        self._lanes.append(lane)
        return lane

    def _talk_as(self, user: str) -> Callable[[Lane], None]:
        conversations = self.talks_to(user)
        place = 0

        def step(lane: Lane) -> None:
            nonlocal place
            lane.say(user, conversations[place % len(conversations)])
            place += 1

        return step

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._talkers:
            if process.running:
                process.tell("quiet")
        for lane in self._lanes:
            lane.tell_end()
        if kind is None:
            self.end_lanes()
            self._wait_all(lambda record: record.quiet, "has said what it wanted to")

    def end_lanes(self) -> None:
        """What a backend says ends, and so does coming and going."""
        lanes, self._lanes = self._lanes, []
        for lane in lanes:
            lane.tell_end()
        for lane in lanes:
            lane.end()

    # While it goes on

    def refresh(self) -> None:
        for record in self.records:
            record.refresh()

    def answered(self) -> int:
        self.refresh()
        return len(self.said.answers)

    def wait_answered(self, more: int) -> None:
        wanted = self.answered() + more
        self.system.wait(
            lambda: self.answered() >= wanted,
            lambda: f"{wanted} messages are answered, {self.answered()} are",
        )

    def wait_unclear(self) -> None:
        """Until somebody does not know what became of what he said."""
        self.refresh()
        before = self.said.unclear
        self.system.wait(
            lambda: self.refresh() or self.said.unclear > before, "an answer is unclear"
        )

    def _wait_all(self, condition: Callable[[ChatRecord], object], what: str) -> None:
        for record in self.records:
            self.system.wait(
                lambda record=record: record.refresh() or condition(record),
                lambda record=record: f"{record.user} {record.token} {what}; {record.states[-3:]}",
            )

    def add_away(self, count: int) -> None:
        """Members without a device."""
        users = self.users_away = [f"away{number}" for number in range(count)]
        with self._api() as api:
            for start in range(0, count, ADDED_AT_A_TIME):
                some = users[start : start + ADDED_AT_A_TIME]
                results = api.add_members(self.group, some).results
                assert set(results.values()) == {"ok"}, results

    def dismiss(self) -> threading.Thread:
        """Begin to end the group, and return when it has ended for who asks."""
        self.dismissed = True

        def ask() -> None:
            with contextlib.suppress(PushAPIError, PushAPIUnreachable), self._api() as api:
                api.dismiss_group(self.group)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        self.system.wait(lambda: self._redis_sum("EXISTS", "group") == 0, "the group has ended")
        return thread

    def _redis_sum(self, command: str, kind: str) -> int:
        """A number of all servers for a key of the group."""
        key = f"push:{kind}:{self.group}"
        return sum(int(server.call(command, key)[1:]) for server in self.system.servers)

    def members_left(self) -> int:
        return self._redis_sum("HLEN", "members")

    def wait_nothing_left(self) -> None:
        """Of a dismissed group: no members, no followers, in nobody's list."""
        system = self.system
        system.wait(lambda: self.members_left() == 0, lambda: f"{self.members_left()} are left")
        self._wait_no_errands()
        assert self._redis_sum("SCARD", "followers:group") == 0
        for user in [*self.users, *self.users_away]:
            listed = [s.call("SMEMBERS", f"push:user-streams:{user}") for s in system.servers]
            assert set(listed) == {b"*0\r\n"}, (user, listed)

    # The end

    def histories(self) -> dict[str, list[HistoryMessage]]:
        """All that was said, as the backend reads it."""
        owners = {owner for _, owner in self.said.said.values()}
        with self._api() as api:
            return {
                owner: self._as_answered(owner)
                if self.dismissed and owner.startswith(GROUP_PREFIX)
                else self._history(api, owner)
                for owner in owners
            }

    def _as_answered(self, owner: str) -> list[HistoryMessage]:
        """What the history of a group was that is not there any more."""
        found = [
            HistoryMessage(
                conversation=owner,
                seq=answer.seq,
                sender=self.said.said[name][0],
                id=answer.id,
                client_id=name,
            )
            for name, answers in self.said.answers.items()
            for answer in answers
            if answer.owner == owner
        ]
        return sorted(found, key=lambda message: message.seq)

    def _history(self, api: PushAPI, owner: str) -> list[HistoryMessage]:
        found: list[HistoryMessage] = []
        while True:
            after = found[-1].seq if found else 0
            if owner.startswith(GROUP_PREFIX):
                page = api.group_history(self.group, after=after, limit=PAGE)
            else:
                one, other = owner.removeprefix("chat:").split(",")
                page = api.history(one, USER + other, after=after, limit=PAGE)
            found += page.messages
            if not page.more:
                return found

    def audit(self) -> ChatChecked:
        """Wait until everything has arrived, then look at all of it, and read, and look again."""
        system = self.system
        self._wait_no_errands()
        histories = self.histories()
        group = owner_of(self.users[0], self.conversation)
        witness = self.records[0]
        self._wait_all(lambda record: not self._lacking(record, histories), "has everything")
        complaints = check_histories(self.said, histories)
        for record in self.records:
            wanted = self._wanted(record.user, histories)
            complaints += check_arrivals(record, histories, wanted)
        offsets = {a.seq: a.offset for a in witness.arrived if a.owner == group}
        for record in self.records:
            if record.user in self.guests:
                times = memberships(witness, self.conversation, record.user, start=False)
                complaints += check_member(record, group, times, offsets)
            elif self.dismissed:
                had = list(dict.fromkeys(a.seq for a in record.arrived if a.owner == group))
                if had != list(range(1, len(had) + 1)) or len(had) > len(histories[group]):
                    complaints.append(f"{record.user} {record.token}: of a dismissed group {had}")
        complaints += [
            f"{name}, said by a member, was refused: {code}"
            for name, code in self.said.refusals.items()
            if (code != "not_member" or self.said.said[name][0] in self.members)
            and not (code == "unknown_group" and self.dismissed)
        ]
        fail_if(complaints)
        self._check_positions(histories)
        system.check_logs()
        deliveries = sum(len(record.arrived) for record in self.records)
        return ChatChecked(sum(len(messages) for messages in histories.values()), deliveries)

    def _wanted(self, user: str, histories: Mapping[str, list[HistoryMessage]]) -> list[str]:
        """The conversations of which a user's devices must have all."""
        wanted = []
        for owner in histories:
            if owner.startswith(GROUP_PREFIX):
                if user in self.members and not self.dismissed:
                    wanted.append(owner)
            elif user in owner.removeprefix("chat:").split(","):
                wanted.append(owner)
        return wanted

    def _lacking(
        self, record: ChatRecord, histories: Mapping[str, list[HistoryMessage]]
    ) -> list[str]:
        return [
            str(message.id)
            for owner in self._wanted(record.user, histories)
            for message in histories[owner]
            if message.id not in record.ids
        ]

    def _wait_no_errands(self) -> None:
        """Until all is done on every server that was written down."""
        for server in self.system.servers:
            for key in ("push:errands", "push:chat-errands"):
                self.system.wait(
                    lambda server=server, key=key: server.call("ZCARD", key) == b":0\r\n",
                    lambda server=server, key=key: (
                        f"{key}: {server.call('ZRANGE', key, '0', '3')!r}"
                    ),
                )

    # Positions

    def _check_positions(self, histories: Mapping[str, list[HistoryMessage]]) -> None:
        """Before anybody read, when one device of each has, and when all have connected anew."""
        self._check_lists(histories, {})
        for process in self._talkers:
            process.tell("read")
        firsts = self.records[::DEVICES_EACH]
        for record in firsts:
            self.system.wait(
                lambda record=record: record.refresh() or record.times_read,
                f"{record.user} has read",
            )
        read = {(r.user, owner): seq for r in firsts for owner, seq in r.read.items()}
        self._check_lists(histories, read)
        for record in self.records:
            own = {
                owner: seq
                for (user, owner), seq in read.items()
                if user == record.user and owner in self._wanted(user, histories)
            }
            for owner, seq in own.items():
                self.system.wait(
                    lambda record=record, owner=owner, seq=seq: (
                        record.refresh() or record.receipts.get((owner, record.user), seq) >= seq
                    ),
                    f"{record.user} hears that {owner} is read up to {seq}",
                )
        before = [record.connections for record in self.records]
        for process in self._talkers:
            process.tell("again")
        for record, times in zip(self.records, before, strict=True):
            self.system.wait(
                lambda record=record, times=times: record.refresh() or record.connections > times,
                f"{record.user} is connected anew",
            )
        self._check_lists(histories, read)

    def _check_lists(
        self, histories: Mapping[str, list[HistoryMessage]], read: Mapping[tuple[str, str], int]
    ) -> None:
        """What each device is told of its conversations is what its user wrote and read."""
        before = [len(record.lists) for record in self.records]
        for process in self._talkers:
            process.tell("list")
        complaints = []
        for record, times in zip(self.records, before, strict=True):
            self.system.wait(
                lambda record=record, times=times: record.refresh() or len(record.lists) > times,
                f"{record.user} has a list",
            )
            listed = record.lists[-1]
            for owner in self._wanted(record.user, histories):
                messages = histories[owner]
                own = [m.seq for m in messages if m.sender == record.user]
                place = max([0, *own, read.get((record.user, owner), 0)])
                wanted = [len(messages), place, place, len(messages) - place]
                if listed.get(owner) != wanted:
                    complaints.append(
                        f"{record.user} {record.token}: {owner} is {listed.get(owner)}, "
                        f"not {wanted} (seq, delivered, read, unread)"
                    )
        fail_if(complaints)
