"""Long fan-outs: a stream's messages go to its sessions in pieces, over several turns."""

from __future__ import annotations

from push.connector.delivery.tracing import DeliverySpans
from push.connector.sessions.device_session import DeviceSession
from push.runtime.tracing import Tracer
from push.session.entry import Batch, Entry, batches_of
from push.session.subscription import Subscription
from push.streams.channel import Channel

# Of what came for a stream during a round. More of it: sessions read on in the log, and what is in
# no log is lost. An entry counts as so many bytes at least.
MOST_SINCE_BYTES = 1024 * 1024
LEAST_ENTRY_BYTES = 512
LEAST_BYTES = 2 * 1024  # as which a write to a session counts at least

Pairs = list[tuple[DeviceSession, Subscription]]


class Round:
    """A long fan-out under way, and what came for the same stream since."""

    __slots__ = (
        "_since",
        "_since_bytes",
        "_typing",
        "batches",
        "channel",
        "deliveries",
        "fell_behind",
        "left",
        "left_to_log",
        "lost",
        "place",
        "size_bytes",
        "targets",
    )

    def __init__(self, channel: Channel, batches: list[Batch], tracer: Tracer | None) -> None:
        self.channel = channel
        self.batches = batches
        self.size_bytes = sum(map(counted_bytes, batches))
        self.targets: Pairs = list(channel.followers.items())
        self.left = channel.left  # when these were all followers
        self.place = 0
        self.deliveries: DeliverySpans | None = None  # spans that end with it
        if tracer is not None:
            self.deliveries = DeliverySpans()
            for batch in batches:
                self.deliveries.begin(tracer, channel.stream, batch, len(self.targets))
        self._since: list[Entry] = []
        self._since_bytes = 0
        self._typing: dict[str, Entry] = {}  # by the user: the last is enough
        self.fell_behind = False  # something that came is to be read in the log
        self.left_to_log: list[Entry] = []  # of that, entries for the connector
        self.lost: list[str] = []  # ids of messages for which there was no room

    @property
    def is_over(self) -> bool:
        return self.place >= len(self.targets)

    def next_piece(self, most: int) -> Pairs:
        """The next sessions that it is written to, so many at most."""
        piece = self.targets[self.place : self.place + most]
        self.place += most
        return piece

    def still_following(self, piece: Pairs) -> Pairs:
        """Without those that have left since the round began, or with the batch before."""
        if self.channel.left == self.left:
            return piece
        followers = self.channel.followers
        return [target for target in piece if followers.get(target[0]) is target[1]]

    def add(self, entry: Entry) -> bool:
        """It goes with the next round, or is to be read in the log. False: it is in no log, and
        there is no room for it."""
        if entry.exclude_user:
            self._typing[entry.exclude_user] = entry
            return True
        if entry.offset and self.fell_behind:
            self._leave(entry)
            return True
        if self._since_bytes + _size_bytes(entry) > MOST_SINCE_BYTES:
            self._leave_to_log()
            if entry.offset:
                self._leave(entry)
                return True
            if self._since_bytes + _size_bytes(entry) > MOST_SINCE_BYTES:
                return False
        self._since_bytes += _size_bytes(entry)
        self._since.append(entry)
        return True

    def _leave_to_log(self) -> None:
        """What is in the log is read there."""
        for entry in self._since:
            if entry.offset:
                self._leave(entry)
        self._since = [entry for entry in self._since if not entry.offset]
        self._since_bytes = sum(map(_size_bytes, self._since))

    def _leave(self, entry: Entry) -> None:
        self.fell_behind = True
        if entry.control is not None:
            self.left_to_log.append(entry)

    def next_round(self, tracer: Tracer | None) -> Round | None:
        """With what came meanwhile; None if there is nothing, or nobody."""
        since = [*self._typing.values(), *self._since]
        if not since or not self.channel.followers:
            return None
        return Round(self.channel, batches_of(since), tracer)


def _size_bytes(entry: Entry) -> int:
    return max(len(entry.body), LEAST_ENTRY_BYTES)


def counted_bytes(batch: Batch) -> int:
    """As how many it counts for each session, or a few more."""
    return max(len(batch.entries) * batch.largest_bytes, LEAST_BYTES)
