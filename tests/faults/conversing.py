"""People who talk to each other, on a `System`: their devices, what a backend says for them, the
faults' end and the audit."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from push.sdk.backend import PushAPI
from push.sdk.chat_types import GROUP, USER, HistoryMessage
from push.sdk.errors import PushAPIError, PushAPIUnreachable
from push.wire.idents import GROUP_PREFIX
from tests.faults import chatting
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
from tests.faults.processes import Daemon, Process
from tests.faults.system import CATCH_UP_SECONDS, System

TIMEOUT_SECONDS = 20.0
AFTER_A_FAILURE_SECONDS = 0.1
DEVICES_EACH = 2
PACE_SECONDS = 0.12
PAGE = 200


class ChatChecked(NamedTuple):
    """What an audit looked at."""

    messages: int
    deliveries: int


class Talkers(Process):
    """Devices in one process; see `chatting.Device` for what they are told."""

    def __init__(self, name: str, folder: Path, plan: Plan) -> None:
        super().__init__(name)
        self._plan_path = folder / f"{name}.json"
        self._plan_path.write_bytes(msgspec.json.encode(plan))
        self._log = folder / f"{name}.log"

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, chatting.__file__, str(self._plan_path)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
            )

    def tell(self, command: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()


class Lane:
    """A thread that does one thing after the other over HTTP, each until its answer is clear."""

    def __init__(self, door: Daemon, key: str, name: str, said: Said, pace_seconds: float) -> None:
        self._api = PushAPI(door.http_url, key, timeout=TIMEOUT_SECONDS, retries=0)
        self._name = name
        self._said = said
        self._pace_seconds = pace_seconds
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._number = 0

    def until_clear(self, act: Callable[[], object]) -> object:
        """What `act` answers; raises its `PushAPIError` when that is a refusal."""
        while True:
            try:
                return act()
            except PushAPIError as error:
                if error.status != 503:
                    raise
            except PushAPIUnreachable:
                pass
            self._said.unclear += 1
            self._stop.wait(AFTER_A_FAILURE_SECONDS)

    def say(self, user: str, conversation: str) -> None:
        """As `user`; now and then once more when it was answered already."""
        self._number += 1
        client_id = f"{self._name}-{self._number}"
        self._said.ask(user, client_id, conversation)
        for _ in range(2 if self._number % 5 == 0 else 1):
            try:
                sent = self.until_clear(lambda: self._send(user, conversation, client_id))
            except PushAPIError as error:
                self._said.refused(client_id, error.code)
            else:
                self._said.answered(client_id, sent.id, sent.conversation, sent.seq)  # type: ignore[attr-defined]

    def _send(self, user: str, conversation: str, client_id: str) -> object:
        if conversation.startswith(GROUP):
            group = conversation.removeprefix(GROUP)
            return self._api.send_to_group(group, user, client_id, client_id=client_id)
        peer = conversation.removeprefix(USER)
        return self._api.send_to_user(peer, user, client_id, client_id=client_id)

    def add(self, group: str, user: str) -> None:
        results = self.until_clear(lambda: self._api.add_members(group, [user]))
        assert results.results[user] in ("ok", "already_exists"), results  # type: ignore[attr-defined]

    def remove(self, group: str, user: str, *, leaves: bool) -> None:
        by = user if leaves else None
        try:
            self.until_clear(lambda: self._api.remove_member(group, user, by=by))
        except PushAPIError as error:
            if error.code not in ("not_found", "not_member"):  # an unclear one had done it
                raise

    def begin(self, step: Callable[[Lane], None]) -> None:
        self._thread = threading.Thread(target=self._run, args=(step,), daemon=True)
        self._thread.start()

    def _run(self, step: Callable[[Lane], None]) -> None:
        try:
            while not self._stop.wait(self._pace_seconds):
                step(self)
        except BaseException as error:
            self._error = error

    def tell_end(self) -> None:
        self._stop.set()

    def end(self) -> None:
        if self._thread is not None:
            self._thread.join(TIMEOUT_SECONDS + 10)
            assert not self._thread.is_alive(), f"{self._name} never ended"
        self._api.close()
        if self._error is not None:
            raise self._error


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
        self.conversation = GROUP + self.group
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
                deadline_seconds=CATCH_UP_SECONDS,
            )

    # The end

    def histories(self) -> dict[str, list[HistoryMessage]]:
        """All that was said, as the backend reads it."""
        owners = {owner for _, owner in self.said.said.values()}
        with self._api() as api:
            return {owner: self._history(api, owner) for owner in owners}

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
        complaints += [
            f"{name}, said by a member, was refused: {code}"
            for name, code in self.said.refusals.items()
            if code != "not_member" or self.said.said[name][0] in self.members
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
                if user in self.members:
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
                    deadline_seconds=CATCH_UP_SECONDS,
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
