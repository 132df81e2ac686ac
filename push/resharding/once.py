"""Idempotency keys: the same key again must not make a second message, whatever the list is.

The answer to a push is kept on every server that had a part of it, as one piece. Afterwards the
parts are others, so it is kept by stream: `s:<stream>`, how many connectors received it then (-1:
unknown), with the id that the message has. publish.lua writes only to streams of which it finds
nothing there. With several servers the key has a claim to that id as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import msgspec

from push.pushing.targets import as_target, streams_of
from push.resharding.layout import Layout
from push.wire.idents import STREAM_ALL

Fields = dict[str, bytes]

_BY_STREAM = "s:"


class Answers:
    """Where the answers under a key belong."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        # What `PushByIp` pushed without a stream has its record where the key is.
        self._owners: dict[str, str] = {}

    def owner_of(self, id: str) -> str | None:
        """The owner of the record of message `id`, if it came with a key and without a stream."""
        return self._owners.get(id)

    def placed(
        self, name: str, parts: Mapping[int, Fields], to: Mapping[str, bytes]
    ) -> tuple[dict[int, Fields], Fields]:
        """What is to be kept under the key `name` on each server, and the key's claim, if there
        was none. `to`: the targets of messages, by id."""
        first = next(iter(parts.values()))
        if "reply" not in first and not any(field.startswith(_BY_STREAM) for field in first):
            self._owners[first["id"].decode()] = name
            return {self._layout.new_place(name): first}, {}
        id, receivers = "", {}
        for place, fields in parts.items():
            id, here = self._receivers_of(place, fields, to)
            receivers.update(here)
        head = {"digest": first["digest"], "id": id.encode()}
        placed: defaultdict[int, Fields] = defaultdict(lambda: dict(head))
        for stream, count in receivers.items():
            places = [self._layout.new_place(stream)]
            for place in self._layout.new if stream == STREAM_ALL else places:
                placed[place][_BY_STREAM + stream] = b"%d" % count
        alone = len(self._layout.old) == 1
        return dict(placed), head if alone and len(self._layout.new) > 1 else {}

    def _receivers_of(
        self, place: int, fields: Fields, to: Mapping[str, bytes]
    ) -> tuple[str, dict[str, int]]:
        """The id, and how many connectors received it by stream, of the part on one server."""
        by_stream = {
            name[len(_BY_STREAM) :]: int(value)
            for name, value in fields.items()
            if name.startswith(_BY_STREAM)
        }
        if "reply" not in fields:
            return fields["id"].decode(), by_stream
        id, counts = kept_answer(fields)
        target = as_target(msgspec.Raw(to[id])) if id in to else None
        streams = streams_of(target) if target else []
        if len(self._layout.old) > 1 and streams != [STREAM_ALL]:
            streams = [s for s in streams if self._layout.old_place(s) == place]
        return id, by_stream | dict(zip(streams, counts, strict=False))


def kept_answer(fields: Fields) -> tuple[str, list[int]]:
    """What publish.lua has kept: the message's id, and how many connectors each stream had."""
    _, _, id, *counts = msgspec.msgpack.decode(fields["reply"])
    return str(id), [int(count) for count in counts]
