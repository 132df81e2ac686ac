"""Messages as a session hands them out. Made once per connector, shared by all its sessions."""

from __future__ import annotations

from collections.abc import Sequence

from push.wire.codecs.codec import Codec

# What is handed to a connection before it is looked whether it still takes more.
PART_BYTES = 16 * 1024

# Message ids of PUSH: the connector gives the low ones, each session the high ones (rule 9).
FIRST_SHARED_ID = 1
LAST_SHARED_ID = 0xBFFF
FIRST_PRIVATE_ID = 0xC000
LAST_PRIVATE_ID = 0xFFFF


class Entry:
    """One message of one stream.

    `offset` is the place in the stream in microseconds of the server's clock, 0 for a message that
    is not in the log (QoS 0, `ttl` 0); `previous` the offset before it. `body` is the JSON of its
    PUSH. `message_id` is its shared message id, 0 where each session uses one of its own.
    `online`: in no log, for those who are there, who acknowledge it all the same (`ttl` 0).
    `control` is the parsed content of an entry that is for the connector and not for the device.
    `exclude_user`: the user whose sessions do not get it, "" = nobody's. `trace`: the
    traceparent of its publishing, "" = not traced.
    """

    __slots__ = (
        "_encoded",
        "body",
        "control",
        "exclude_user",
        "expires_ms",
        "id",
        "message_id",
        "offset",
        "online",
        "previous",
        "trace",
    )

    def __init__(
        self,
        id: str,
        previous: int,
        offset: int,
        body: bytes,
        expires_ms: int = 0,
        *,
        message_id: int = 0,
        online: bool = False,
        control: dict[str, str] | None = None,
        exclude_user: str = "",
        trace: str = "",
    ) -> None:
        self.id = id
        self.previous = previous
        self.offset = offset
        self.body = body
        self.expires_ms = expires_ms
        self.message_id = message_id
        self.online = online
        self.control = control
        self.exclude_user = exclude_user
        self.trace = trace
        self._encoded: dict[Codec, bytes] | None = None

    def encoded(self, codec: Codec) -> bytes:
        """The PUSH with its shared message id, made once a codec."""
        if self._encoded is None:
            self._encoded = {}
        data = self._encoded.get(codec)
        if data is None:
            data = self._encoded[codec] = codec.push(self, self.message_id)
        return data


class HandedOut:
    """A message between hand-out and the cursor's passing it, the same object for all sessions
    that got it together: nothing of it changes. It was `handed` out at that time.
    """

    __slots__ = ("handed", "id", "message_id", "offset", "size_bytes")
    written = True
    attempts: int = 1
    outcome: str | None = None

    def __init__(self, entry: Entry, message_id: int, now: float) -> None:
        self.id = entry.id
        self.offset = entry.offset
        self.size_bytes = len(entry.body)
        self.message_id = message_id
        self.handed = now

    @property
    def done(self) -> bool:
        return self.outcome is not None


class Batch:
    """Messages of one stream that came in one turn: joined once, written once per session."""

    __slots__ = (
        "_encoded",
        "_handed_out",
        "controls",
        "entries",
        "ephemeral",
        "excluded",
        "first_offset",
        "first_previous",
        "largest_bytes",
        "message_ids",
        "online",
        "stored",
        "stored_bytes",
        "uniform",
    )

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Of one stream, in order; not empty."""
        stored: list[Entry] = []
        controls: list[Entry] = []
        ephemeral: list[Entry] = []
        excluded: set[str] = set()
        online = False
        is_gapless = True
        message_ids: set[int] = set()
        stored_bytes = largest_bytes = 0
        for entry in entries:
            size_bytes = len(entry.body)
            if size_bytes > largest_bytes:
                largest_bytes = size_bytes
            if entry.offset:
                if stored and entry.previous != stored[-1].offset:
                    is_gapless = False
                stored.append(entry)
                message_ids.add(entry.message_id)
                stored_bytes += size_bytes
            else:
                ephemeral.append(entry)
            if entry.control is not None:
                controls.append(entry)
            if entry.online:
                online = True
            if entry.exclude_user:
                excluded.add(entry.exclude_user)
        self.entries = entries
        self.excluded = excluded  # users who do not get all of it
        self.stored = stored
        self.ephemeral = ephemeral
        self.online = online
        self.controls = controls
        self.stored_bytes = stored_bytes
        self._encoded: dict[Codec, bytes] = {}
        self._handed_out: tuple[HandedOut, ...] = ()
        self.largest_bytes = largest_bytes
        self.first_previous = stored[0].previous if stored else 0
        self.first_offset = stored[0].offset if stored else 0
        self.message_ids = message_ids
        # Whether `encoded` may go as it is to a session that has room and is in step.
        self.uniform = (
            is_gapless
            and 0 not in message_ids
            and len(message_ids) == len(stored)
            and not controls
            and not online
        )

    def handed_out(self, now: float) -> tuple[HandedOut, ...]:
        """What is in a log, as sessions have it that get all of it now."""
        if not self._handed_out or self._handed_out[0].handed != now:
            messages = [HandedOut(each, each.message_id, now) for each in self.stored]
            self._handed_out = tuple(messages)
        return self._handed_out

    def encoded(self, codec: Codec) -> bytes:
        """Of a uniform batch: made once a codec and the same object for all its sessions."""
        data = self._encoded.get(codec)
        if data is None:
            # Not kept with each entry, too: few read one again, from memory.
            parts = [codec.push(entry, entry.message_id) for entry in self.entries]
            data = self._encoded[codec] = b"".join(parts)
        return data

    def encoded_without(self, codec: Codec, user: str | None) -> bytes:
        """What a session of an excluded user gets of a batch that is in no log."""
        return b"".join([e.encoded(codec) for e in self.entries if e.exclude_user != user])

    def count_without(self, user: str | None) -> int:
        """How many a session of `user` gets."""
        return sum(entry.exclude_user != user for entry in self.entries)


def batches_of(entries: Sequence[Entry]) -> list[Batch]:
    """`entries` in batches of about `PART_BYTES`; one, for nearly all there is.

    A batch ends with an entry for the connector: what that ends is not handed what follows it. What
    is not for everybody is by itself. It says that a user is typing: of one user the last is
    enough, and it comes before what may be the message, but not before what may end a session's
    following.
    """
    typing = {entry.exclude_user: entry for entry in entries if entry.exclude_user}
    if not typing:
        return _in_parts(entries)
    notes = _in_parts(list(typing.values()))
    others = [entry for entry in entries if not entry.exclude_user]
    if not others:
        return notes
    parts = _in_parts(others)
    return parts + notes if any(part.controls for part in parts) else notes + parts


def _in_parts(entries: Sequence[Entry]) -> list[Batch]:
    controls = any(entry.control is not None for entry in entries)
    if not controls and sum(len(entry.body) for entry in entries) <= PART_BYTES:
        return [Batch(entries)]
    batches: list[Batch] = []
    part: list[Entry] = []
    size_bytes = 0
    for entry in entries:
        full = size_bytes + len(entry.body) > PART_BYTES or (part and part[-1].control is not None)
        if part and full:
            batches.append(Batch(part))
            part, size_bytes = [], 0
        part.append(entry)
        size_bytes += len(entry.body)
    return [*batches, Batch(part)]
