"""The HTTP API's requests about chat (push-group); see `push.sdk.backend.calls.base`.

A backend acts above all roles; with `by` it acts as a user, with that user's rights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from push.sdk.backend.calls.base import ApiCall, read_nothing, read_silent, reader
from push.sdk.backend.calls.paths import path_of
from push.sdk.chat_types import (
    ConversationPage,
    GroupInfo,
    HistoryPage,
    MemberPage,
    Positions,
    Results,
    Sent,
    given,
)
from push.sdk.encoding import client_id_or_new


def create_group(
    owner: str,
    name: str,
    members: Iterable[str] = (),
    *,
    type: str | None = None,
    extra: object = None,
) -> ApiCall[GroupInfo]:
    """A new group. `type`: normal, or broadcast, in which only admins write. Not retried: sent
    twice it would be two groups.
    """
    body = given(owner=owner, name=name, members=list(members), type=type, extra=extra)
    return ApiCall("POST", "/v1/groups", reader(GroupInfo), json=body, idempotent=False)


def group(group: str) -> ApiCall[GroupInfo]:
    """`unknown_group` (404) when there is none."""
    return ApiCall("GET", _group(group), reader(GroupInfo))


def change_group(
    group: str,
    *,
    name: str | None = None,
    announcement: str | None = None,
    extra: object = None,
    mute_all: bool | None = None,
    invite: str | None = None,
    owner: str | None = None,
    by: str | None = None,
) -> ApiCall[GroupInfo]:
    """Change what is given, all of it or nothing. `owner`: another member is it from now on."""
    body = given(
        name=name,
        announcement=announcement,
        extra=extra,
        mute_all=mute_all,
        invite=invite,
        owner=owner,
        by=by,
    )
    return ApiCall("PATCH", _group(group), reader(GroupInfo), json=body)


def dismiss_group(group: str, *, by: str | None = None) -> ApiCall[list[str]]:
    """The group ends, for all. Returns the nodes that did not confirm it yet, usually none."""
    return ApiCall("DELETE", _group(group), read_silent, params=_params(by=by))


def members(
    group: str, *, cursor: str | None = None, limit: int | None = None
) -> ApiCall[MemberPage]:
    """Members by name: a page of at most `limit` (50, at most 200) from `cursor` on. `each_member`
    goes through all pages.
    """
    params = _params(cursor=cursor, limit=limit)
    return ApiCall("GET", f"{_group(group)}/members", reader(MemberPage), params=params)


def add_members(group: str, users: Sequence[str], *, by: str | None = None) -> ApiCall[Results]:
    """At most 500 users; `results` has `ok` or a code for each.

    Retried: users that were added by a try whose answer was lost are `already_exists` then.
    """
    body = given(users=list(users), by=by)
    return ApiCall("POST", f"{_group(group)}/members", reader(Results), json=body)


def change_member(
    group: str,
    user: str,
    *,
    role: str | None = None,
    muted: bool | None = None,
    by: str | None = None,
) -> ApiCall[None]:
    """`role`: admin or member. A muted member reads, and does not write."""
    body = given(role=role, muted=muted)
    return ApiCall("PUT", _member(group, user), read_nothing, json=body, params=_params(by=by))


def remove_member(group: str, user: str, *, by: str | None = None) -> ApiCall[list[str]]:
    """With the user as `by` they leave. Returns as `dismiss_group`."""
    return ApiCall("DELETE", _member(group, user), read_silent, params=_params(by=by))


def send_to_group(
    group: str,
    sender: str,
    data: object,
    *,
    type: str | None = None,
    mentions: Iterable[str] = (),
    reply_to: int | None = None,
    client_id: str | None = None,
) -> ApiCall[Sent]:
    """A message of `sender` to a group. It is one message however often it is sent with one
    `client_id` of that sender within 7 days; a random one unless given, so the call is retried.
    """
    path = f"{_group(group)}/messages"
    return _send(path, sender, data, client_id, mentions, type=type, reply_to=reply_to)


def send_to_user(
    user: str,
    sender: str,
    data: object,
    *,
    type: str | None = None,
    mentions: Iterable[str] = (),
    reply_to: int | None = None,
    client_id: str | None = None,
) -> ApiCall[Sent]:
    """A message of `sender` to `user`; see `send_to_group`."""
    path = path_of("/v1/users/{user}/messages", user=user)
    return _send(path, sender, data, client_id, mentions, type=type, reply_to=reply_to)


def _send(
    path: str,
    sender: str,
    data: object,
    client_id: str | None,
    mentions: Iterable[str],
    **more: object,
) -> ApiCall[Sent]:
    body: dict[str, Any] = {
        "from": sender,
        "data": data,
        "client_id": client_id_or_new(client_id),
        **given(mentions=list(mentions) or None, **more),
    }
    return ApiCall("POST", path, reader(Sent), json=body)


def group_history(
    group: str, *, after: int | None = None, before: int | None = None, limit: int | None = None
) -> ApiCall[HistoryPage]:
    """At most `limit` (50, at most 200) messages after the seq `after` or before `before`; without
    either the newest. The earliest comes first.
    """
    params = _params(after=after, before=before, limit=limit)
    return ApiCall("GET", f"{_group(group)}/messages", reader(HistoryPage), params=params)


def conversations(
    user: str, *, cursor: str | None = None, limit: int | None = None
) -> ApiCall[ConversationPage]:
    """The conversations of a user, the latest first, with what is unread: a page of at most `limit`
    (50, at most 200) from `cursor` on. `each_conversation` goes through all pages.
    """
    params = _params(cursor=cursor, limit=limit)
    path = path_of("/v1/users/{user}/conversations", user=user)
    return ApiCall("GET", path, reader(ConversationPage), params=params)


def history(
    user: str,
    conversation: str,
    *,
    after: int | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> ApiCall[HistoryPage]:
    """A conversation as `user` sees it, by its name `user:<the other>` or `group:<group>`; see
    `group_history`.
    """
    params = _params(after=after, before=before, limit=limit)
    path = f"{_conversation(user, conversation)}/messages"
    return ApiCall("GET", path, reader(HistoryPage), params=params)


def set_positions(
    user: str, conversation: str, *, delivered: int | None = None, read: int | None = None
) -> ApiCall[Positions]:
    """How far `user` is in a conversation. Positions never go back."""
    path = f"{_conversation(user, conversation)}/positions"
    return ApiCall("POST", path, reader(Positions), json=given(delivered=delivered, read=read))


def recall(user: str, conversation: str, seq: int, *, force: bool = False) -> ApiCall[None]:
    """Take message `seq` of a conversation back, as `user`; with `force` of any sender and age."""
    message = path_of("/messages/{seq}", seq=str(seq))
    path = f"{_conversation(user, conversation)}{message}"
    return ApiCall("DELETE", path, read_nothing, params={"force": "true"} if force else None)


def _params(**members: object) -> dict[str, str] | None:
    return {name: str(value) for name, value in given(**members).items()} or None


def _group(group: str) -> str:
    return path_of("/v1/groups/{group}", group=group)


def _member(group: str, user: str) -> str:
    return path_of("/v1/groups/{group}/members/{user}", group=group, user=user)


def _conversation(user: str, conversation: str) -> str:
    return path_of(
        "/v1/users/{user}/conversations/{conversation}", user=user, conversation=conversation
    )
