"""`pushctl chat`: messages between users, on their behalf."""

from __future__ import annotations

from itertools import islice

import click

from push.pushctl.commands.push import read_data
from push.pushctl.terminal import output
from push.pushctl.terminal.options import Common, common_options
from push.sdk.backend import PushAPI
from push.sdk.chat_types import GROUP, USER, Conversation, HistoryMessage, HistoryPage

PAGE = 200
MAX_SEQ = 2**53 - 1
seq_type = click.IntRange(0, MAX_SEQ)


@click.group("chat")
@common_options
def chat() -> None:
    """Messages between users: send, history, conversations, read, recall.

    A conversation is user:ID with a user, or group:ID. The key needs the scope chat.

    \b
    Examples:
      pushctl chat send user:ben --from ada '{"text": "Tonight at eight?"}'
      pushctl chat history user:ben --of ada
    """


@chat.command("send")
@click.argument("conversation", metavar="CONVERSATION")
@click.argument("data", required=False)
@click.option("--from", "sender", required=True, metavar="USER", help="The user who sends it.")
@click.option("--type", "kind", metavar="TYPE", help="[text]")
@click.option("--mention", "mentions", multiple=True, metavar="USER", help="May be repeated.")
@click.option("--reply-to", type=seq_type, metavar="SEQ", help="To the message with this seq.")
@click.option(
    "--client-id",
    metavar="ID",
    help="Sent again with ID within 7 days, it stays one message. [default: a random one]",
)
@click.option("--text", is_flag=True, help="DATA is text, also when it looks like JSON.")
@common_options
@click.pass_obj
def send(
    common: Common,
    conversation: str,
    data: str | None,
    sender: str,
    kind: str | None,
    mentions: tuple[str, ...],
    reply_to: int | None,
    client_id: str | None,
    text: bool,
) -> None:
    """Send a message to a user or a group, as the user --from.

    DATA is as for `push`: JSON, text, @FILE, or - for standard input.

    \b
    Examples:
      pushctl chat send user:ben --from ada 'Tonight at eight?'
      pushctl chat send group:03DMV9EK31WTE= --from ada --mention ben '{"text": "Look, Ben"}'
    """
    kind_of, name = _parts(conversation)
    if kind_of == USER and name == sender:
        raise click.UsageError("you cannot send a message to yourself")
    value, encoding = read_data(data, text, optional=False)
    if encoding is not None:
        raise click.UsageError("DATA is neither JSON nor UTF-8 text")
    with common.api() as api:
        call = api.send_to_user if kind_of == USER else api.send_to_group
        sent = call(
            name,
            sender,
            value,
            type=kind,
            mentions=mentions,
            reply_to=reply_to,
            client_id=client_id,
        )
    common.print_done(f"{sent.id}: {sent.conversation} seq {sent.seq}", sent)


@chat.command("history")
@click.argument("conversation", metavar="CONVERSATION")
@click.option("--of", "user", metavar="USER", help="As USER sees it; needed for user:ID.")
@click.option("--after", type=seq_type, metavar="SEQ", help="Messages after this seq.")
@click.option("--before", type=seq_type, metavar="SEQ", help="Messages before this seq.")
@click.option("--limit", type=click.IntRange(1, PAGE), default=50, show_default=True, metavar="N")
@common_options
@click.pass_obj
def history(
    common: Common,
    conversation: str,
    user: str | None,
    after: int | None,
    before: int | None,
    limit: int,
) -> None:
    """Print messages of a conversation, the earliest first: the newest, or those --after a seq.

    \b
    Examples:
      pushctl chat history user:ben --of ada
      pushctl chat history group:03DMV9EK31WTE= --after 17 --json | jq .data
    """
    kind, name = _parts(conversation)
    if after is not None and before is not None:
        raise click.UsageError("--after and --before exclude each other")
    if user is None and kind == USER:
        raise click.UsageError("give --of USER: the user whose conversation it is")
    with common.api() as api:
        page = _page(api, user, conversation, name, after=after, before=before, limit=limit)
    headings = ("seq", "time", "from", "message")
    common.print_list(page.messages, headings, _message_cells, "no messages")
    if page.more:
        common.notice("there are more: use --after or --before", more=True)


def _page(
    api: PushAPI, user: str | None, conversation: str, group: str, **which: int | None
) -> HistoryPage:
    if user is None:
        return api.group_history(group, **which)
    return api.history(user, conversation, **which)


def _message_cells(message: HistoryMessage) -> tuple[str | None, ...]:
    text = "(recalled)" if message.recalled else output.one_line(message.data)
    return str(message.seq), output.utc_time(message.ts), message.sender, text


@chat.command("conversations")
@click.argument("user", metavar="USER")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N, the latest.")
@common_options
@click.pass_obj
def conversations(common: Common, user: str, limit: int | None) -> None:
    """List the conversations of USER, the latest first, with what is unread.

    \b
    Examples:
      pushctl chat conversations ada
      pushctl chat conversations ada --limit 10 --json | jq .unread
    """
    with common.api() as api:
        headings = ("conversation", "messages", "unread", "last", "message")
        rows = islice(api.each_conversation(user), limit)
        common.print_list(rows, headings, _conversation_cells, "no conversations")


def _conversation_cells(row: Conversation) -> tuple[str | None, ...]:
    last = _message_cells(row.last) if row.last is not None else (None,) * 4
    return row.conversation, str(row.seq), str(row.unread), last[1], last[3]


@chat.command("read")
@click.argument("conversation", metavar="CONVERSATION")
@click.argument("seq", metavar="SEQ", type=seq_type)
@click.option("--of", "user", required=True, metavar="USER", help="The user who has read it.")
@common_options
@click.pass_obj
def read(common: Common, conversation: str, seq: int, user: str) -> None:
    """Mark a conversation as read up to SEQ by the user --of.

    \b
    Examples:
      pushctl chat read user:ben 17 --of ada
      pushctl chat read group:03DMV9EK31WTE= 17 --of ada --json
    """
    _parts(conversation)
    with common.api() as api:
        found = api.set_positions(user, conversation, read=seq)
    common.print_done(f"{conversation}: read {found.read} of {found.seq}", found)


@chat.command("recall")
@click.argument("conversation", metavar="CONVERSATION")
@click.argument("seq", metavar="SEQ", type=seq_type)
@click.option("--of", "user", required=True, metavar="USER", help="The user who recalls it.")
@click.option("--force", is_flag=True, help="A message of any sender and any age.")
@common_options
@click.pass_obj
def recall(common: Common, conversation: str, seq: int, user: str, force: bool) -> None:
    """Recall a message, as the user --of.

    \b
    Examples:
      pushctl chat recall user:ben 17 --of ada
      pushctl chat recall group:03DMV9EK31WTE= 17 --of ada --force
    """
    _parts(conversation)
    with common.api() as api:
        api.recall(user, conversation, seq, force=force)
    common.print_done(f"{conversation} seq {seq}: recalled")


def _parts(conversation: str) -> tuple[str, str]:
    """`user:` or `group:`, and the id."""
    for prefix in (USER, GROUP):
        name = conversation.removeprefix(prefix)
        if name and name != conversation:
            return prefix, name
    raise click.UsageError(f"CONVERSATION {conversation!r}: expected user:ID or group:ID")
