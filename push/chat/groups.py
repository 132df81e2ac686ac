"""Groups: their members, the roles, and what each role may change (permissions.lua).

`by` is the user who acts; None is the backend itself, above all roles. `turns_of` is who has a turn
of its own where large changes wait for each other; by default the user who acts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from msgspec import UNSET
from twisted.logger import Logger

from push.chat.actions import Acting
from push.chat.contacts import Contacts
from push.chat.settings import ChatSettings, UserRate
from push.devices.readers import Readers
from push.devices.record import as_fields
from push.redis.client import RedisClient
from push.redis.connection.errors import StoreUnavailable
from push.redis.scripts import Script, load_script
from push.runtime.owner_queue import FairSemaphore
from push.runtime.tasks import gather
from push.wire.api.common import ABSENT
from push.wire.api.groups import GroupChanges, GroupInfo, Member, MemberPage, NewGroup, Results
from push.wire.api.paging import make_cursor, read_cursor
from push.wire.errors import RequestError
from push.wire.idents import GROUP_PREFIX, group_stream, user_stream

log = Logger()

# Users that come or go in one script: more would take Redis from everybody else for too long.
CHANGED_AT_A_TIME = 50
TRIES = 10

_create = load_script("chat", "create")
_get_group = load_script("chat", "get_group")
_add = load_script("chat", "add")
_remove = load_script("chat", "remove")
_change = load_script("chat", "change")
_dismiss = load_script("chat", "dismiss")
_dismiss_part = load_script("chat", "dismiss_part")
_joined = load_script("chat", "joined")
_next_owner = load_script("chat", "next_owner")
_with_most_groups = load_script("chat", "with_most_groups")


class Groups:
    """All groups. Raises `RequestError` for what is not allowed: the same codes by HTTP and from
    devices.

    Membership and roles are judged where the group is, by the script that acts. Who
    comes or goes is in effect for their sessions too when a call returns; the nodes that did not
    confirm that in time are `silent`.
    """

    def __init__(
        self, acting: Acting, contacts: Contacts, settings: ChatSettings, readers: Readers
    ) -> None:
        self._acting = acting
        self._contacts = contacts
        self._settings = settings
        self._readers = readers
        self._changing = FairSemaphore(1)  # of all groups; by owner, see `turns_of`

    async def create(self, owner: str, said: NewGroup, *, by_device: bool = False) -> GroupInfo:
        """A new group. The settings say whether a device may create it, how often, and which users
        it may make members."""
        if by_device and self._settings.create_groups == "backend":
            raise RequestError("not_allowed", "only a backend creates groups")
        strangers, rate = await self._strangers(owner, said.members, by_device=by_device)
        if strangers:
            raise RequestError(
                "not_allowed",
                f"you share no conversation or group with {strangers[0]}",
                field="members",
            )
        if by_device and (full := await self._with_most_groups(owner, [owner, *said.members])):
            await self._acting.count(rate)
            most = self._settings.groups_per_user
            raise RequestError("not_allowed", f"{full[0]} is in {most} groups already")
        group = self._acting.next_id()[:13]  # its check character is no character of a name
        request = {
            "members": list(dict.fromkeys(said.members)),
            "name": said.name,
            "type": said.type,
            "extra": "null" if said.extra is UNSET else bytes(said.extra).decode(),
            "max_members": self._settings.group_max_members,
            "rate": rate,
        }
        created = _group_of(await self._act(_create, group, owner, request))
        silent = await self._readers.apply_groups([owner, *said.members])
        return msgspec.structs.replace(created, silent=silent or ABSENT)

    def _home(self, group: str) -> RedisClient:
        return self._acting.shards.of(group_stream(group))

    async def get(self, group: str, by: str | None) -> GroupInfo:
        return _group_of(await self._get(_request(group, by)))

    async def members(
        self, group: str, by: str | None, *, cursor: str, limit: int, turns_of: Hashable = None
    ) -> MemberPage:
        """Members in the order of their names."""
        place = read_cursor("members", cursor, str)
        request = {**_request(group, by), "cursor": place[0] if place else "", "limit": limit}
        return _member_page(await self._get(request, turns_of or by or ""))

    async def _get(self, request: dict[str, Any], turns_of: Hashable = None) -> list[Any]:
        home = self._home(request["group"])
        return await self._acting.run(home, _get_group, request, durable=False, turns_of=turns_of)

    async def add(
        self,
        group: str,
        users: Sequence[str],
        by: str | None,
        *,
        by_device: bool = False,
        turns_of: Hashable = None,
    ) -> Results:
        """`ok`, or why not, for each user. The settings say how often a device may add users, and
        which ones."""
        refused, rate = await self._strangers(by, users, by_device=by_device)
        if by_device:
            refused += await self._with_most_groups(by, users)
        request = {
            "max_members": self._settings.group_max_members,
            "refused": refused,
            "rate": rate,
        }
        return await self._each(_add, group, users, by, request, turns_of)

    async def _strangers(
        self, by: str | None, users: Sequence[str], *, by_device: bool
    ) -> tuple[list[str], UserRate | None]:
        """Those of `users` that a device of `by` may not add; and the rate that is not counted
        yet."""
        if by is None or not by_device:
            return [], None
        rate = self._settings.group_changes.of(by)
        self._acting.check(rate)
        if self._settings.direct == "anyone":
            return [], rate
        others = [each for each in dict.fromkeys(users) if each != by]
        known = await self._contacts.known(by, others, active=False, rate=rate)
        return [each for each in others if each not in known], None

    async def _with_most_groups(self, by: str | None, users: Sequence[str]) -> list[str]:
        """Those of `users` that no device may put into one more group."""
        most, shards = self._settings.groups_per_user, self._acting.shards
        if not most:
            return []
        found = []
        for number, part in shards.grouped(dict.fromkeys(users), user_stream).items():
            request = {"users": part, "most": most}
            (positions,) = await self._acting.run(
                shards[number], _with_most_groups, request, durable=False, turns_of=by
            )
            found += [part[position - 1] for position in positions]
        return found

    async def remove(self, group: str, users: Sequence[str], by: str | None) -> Results:
        """`ok`, or why not, for each user."""
        return await self._each(_remove, group, users, by, {"leaves": False})

    async def leave(self, group: str, user: str) -> list[str]:
        """Returns the nodes that are silent."""
        left = await self._each(_remove, group, [user], user, {"leaves": True})
        return left.silent

    async def change(self, group: str, changes: GroupChanges, by: str | None) -> GroupInfo:
        """All that is given, or nothing."""
        request: dict[str, Any] = {
            name: getattr(changes, name)
            for name in ("name", "announcement", "mute_all", "invite", "owner")
            if getattr(changes, name) is not UNSET
        }
        if changes.extra is not UNSET:
            request["extra"] = bytes(changes.extra).decode()
        if changes.member is not UNSET:
            request["member"] = changes.member.user
            for name in ("role", "muted"):
                if getattr(changes.member, name) is not UNSET:
                    request[name] = getattr(changes.member, name)
        return _group_of(await self._act(_change, group, by, request))

    async def dismiss(self, group: str, by: str | None, turns_of: Hashable = None) -> list[str]:
        """At once for all requests; its members are notified a part at a time.

        Returns the nodes that are silent.
        """
        await self._act(_dismiss, group, by, {})
        try:
            await self.let_go(group, turns_of or by)
        except StoreUnavailable as error:
            log.debug(
                "Members of a dismissed group are not removed yet; tried again: {reason}",
                reason=error.reason,
                event="chat.dismissal_postponed",
            )
        return await self._readers.apply_groups([], dismissed=group)

    async def let_go(self, group: str, turns_of: Hashable = None) -> None:
        """The members of a dismissed group follow it no longer."""
        left = 1
        while left:
            async with self._changing.turn(turns_of):
                request = {"limit": CHANGED_AT_A_TIME}
                (left,) = await self._act(_dismiss_part, group, None, request)

    async def let_go_of_erased(self, group: str, user: str) -> bool:
        """A user that is erased leaves: another is the owner, or the group ends with its last one.

        Returns whether they were a member.
        """
        role = await self._leave_erased(group, user)
        if not role:
            await self.let_go(group)  # if it was dismissed and its members do not know yet
        return bool(role)

    async def _leave_erased(self, group: str, user: str) -> str:
        """The role they had. Between two steps others may change the group: then once more."""
        found = ""
        for _ in range(TRIES):
            request = {"group": group, "user": user}
            values = await self._acting.run(self._home(group), _next_owner, request, durable=False)
            role, next_owner = (value.decode() for value in values)
            if not role:
                return found
            found = role
            try:
                if role == "owner" and not next_owner:
                    await self.dismiss(group, None)
                elif role == "owner":
                    await self.change(group, GroupChanges(owner=next_owner), None)
                    await self.leave(group, user)
                else:
                    await self.leave(group, user)
            except RequestError as refusal:
                log.debug(
                    "Group {group} changed meanwhile: {code}",
                    group=group,
                    code=refusal.code,
                    event="chat.group_changed_meanwhile",
                )
        raise RequestError(
            "unavailable", f"the group {group} changes all the time", after_seconds=1
        )

    async def streams_of(self, user: str) -> dict[str, int]:
        """The streams of a user's groups, and since which offset; as the groups say (rule 5)."""
        streams = await self._acting.group_streams_of(user)
        parts = list(self._acting.shards.grouped(streams, lambda stream: stream).values())
        replies = await gather(self._joined(user, part) for part in parts)
        return {stream: offset for reply in replies for stream, offset in reply}

    async def _joined(self, user: str, streams: list[str]) -> list[tuple[str, int]]:
        groups = [stream.removeprefix(GROUP_PREFIX) for stream in streams]
        request = {"user": user, "groups": groups}
        home = self._acting.shards.of(streams[0])
        (offsets,) = await self._acting.run(home, _joined, request, durable=False)
        return [(s, int(offset)) for s, offset in zip(streams, offsets, strict=True) if offset]

    async def _each(
        self,
        script: Script,
        group: str,
        users: Sequence[str],
        by: str | None,
        more: dict[str, Any],
        turns_of: Hashable = None,
    ) -> Results:
        """The users are judged one by one: a part at a time, of which the first counts for a rate.
        If the server refuses a part after that, the users that are left get its code."""
        each = list(dict.fromkeys(users))
        codes: list[str] = []
        while len(codes) < len(each):
            part = each[len(codes) : len(codes) + CHANGED_AT_A_TIME]
            request = {**more, "users": part}
            try:
                async with self._turn_of(turns_of or by, len(each)):
                    (judged,) = await self._act(script, group, by, request)
            except RequestError as refusal:
                if not codes:
                    raise
                codes += [refusal.code] * (len(each) - len(codes))
            else:
                codes += [code.decode() for code in judged]
            more = {**more, "rate": None}
        # One question for all. Also for users of which nothing changed now: a caller that repeats
        # a request because an answer was lost must know that it is in effect.
        silent = await self._readers.apply_groups(each)
        return Results(dict(zip(each, codes, strict=True)), silent)

    def _turn_of(self, owner: Hashable, users: int) -> AbstractAsyncContextManager[None]:
        """A change of many users is one of several parts, which make others wait."""
        many = users > CHANGED_AT_A_TIME
        return self._changing.turn(owner) if many else contextlib.nullcontext()

    async def _act(
        self, script: Script, group: str, by: str | None, more: dict[str, Any]
    ) -> list[Any]:
        request = {**_request(group, by), "id": self._acting.next_id(), **more}
        return await self._acting.run(self._home(group), script, request)


def _request(group: str, by: str | None) -> dict[str, Any]:
    return {"group": group, "by": by or ""}


def _member_page(values: list[Any]) -> MemberPage:
    rows, more = values
    members = [Member(user.decode(), role.decode(), bool(muted)) for user, role, muted in rows]
    return MemberPage(members, make_cursor("members", members[-1].user) if more else None)


def _group_of(values: list[Any]) -> GroupInfo:
    fields = as_fields([part if isinstance(part, bytes) else b"%d" % part for part in values[0]])
    return GroupInfo(
        group=fields["id"].decode(),
        name=fields["name"].decode(),
        type=fields["type"].decode(),
        owner=fields["owner"].decode(),
        announcement=fields["announcement"].decode(),
        extra=msgspec.Raw(fields["extra"]),
        members=int(fields["members"]),
        mute_all=fields["mute_all"] == b"1",
        invite=fields["invite"].decode(),
        ts=int(fields["ts"]),
        silent=ABSENT,
    )
