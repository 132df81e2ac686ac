"""`pushctl groups` and `members`: groups of users and their members."""

from __future__ import annotations

from collections.abc import Iterable

import click
import msgspec

from push.pushctl.terminal import output
from push.pushctl.terminal.asking import ask_first, yes_option
from push.pushctl.terminal.errors import Failure, WrongValue, json_problem
from push.pushctl.terminal.options import Common, common_options
from push.sdk.backend import PushAPI
from push.sdk.backend.calls.base import ApiCall
from push.sdk.backend.calls.chat import remove_member
from push.sdk.chat_types import GroupInfo, Member
from push.sdk.errors import PushAPIError

GROUP_FIELDS = ("group", "name", "type", "owner", "announcement", "members", "mute_all", "invite")

by_option = click.option(
    "--by",
    metavar="USER",
    help="As USER, with their rights; else as the backend, above all roles.",
)


@click.group("groups")
@common_options
def groups() -> None:
    """Groups: create, show, change, dismiss.

    \b
    Examples:
      pushctl groups create Friends --owner ada --member ben
      pushctl groups list ada
    """


@groups.command("create")
@click.argument("name", metavar="NAME")
@click.option("--owner", required=True, metavar="USER", help="The user who owns it.")
@click.option("--member", "member", multiple=True, metavar="USER", help="May be repeated.")
@click.option("--type", "kind", type=click.Choice(["normal", "broadcast"]), help="[normal]")
@click.option("--extra", metavar="JSON", help="Any JSON value of your application.")
@common_options
@click.pass_obj
def create(
    common: Common,
    name: str,
    owner: str,
    member: tuple[str, ...],
    kind: str | None,
    extra: str | None,
) -> None:
    """Create a group and print it; in a broadcast group only its owner and admins write.

    \b
    Examples:
      pushctl groups create Friends --owner ada --member ben --member eve
      pushctl groups create News --owner ada --type broadcast --json | jq -r .group
    """
    value = _json_value("--extra", extra)
    with common.api() as api:
        made = api.create_group(owner, name, member, type=kind, extra=value)
    _print_group(common, made)


@groups.command("list")
@click.argument("user", metavar="USER")
@common_options
@click.pass_obj
def list_groups(common: Common, user: str) -> None:
    """List the groups of USER that have messages, the latest first, with what is unread.

    \b
    Examples:
      pushctl groups list ada
      pushctl groups list ada --json | jq -r .group
    """
    with common.api() as api:
        common.print_list(
            (each for each in api.each_conversation(user) if each.group is not None),
            ("group", "messages", "unread"),
            lambda each: (each.group, str(each.seq), str(each.unread)),
            "no groups with messages",
        )


@groups.command("show")
@click.argument("group", metavar="GROUP")
@common_options
@click.pass_obj
def show(common: Common, group: str) -> None:
    """Show a group.

    \b
    Examples:
      pushctl groups show 03DMV9EK31WTE=
      pushctl groups show 03DMV9EK31WTE= --json | jq .members
    """
    with common.api() as api:
        _print_group(common, api.group(group))


@groups.command("change")
@click.argument("group", metavar="GROUP")
@click.option("--name", metavar="NAME")
@click.option("--announcement", metavar="TEXT")
@click.option("--extra", metavar="JSON", help="Any JSON value of your application.")
@click.option("--mute-all/--no-mute-all", default=None, help="Only the owner and admins write.")
@click.option(
    "--invite",
    type=click.Choice(["owner", "admin", "member"]),
    help="The role that may add members.",
)
@click.option("--owner", metavar="USER", help="Another member owns it.")
@by_option
@common_options
@click.pass_obj
def change(
    common: Common,
    group: str,
    name: str | None,
    announcement: str | None,
    extra: str | None,
    mute_all: bool | None,
    invite: str | None,
    owner: str | None,
    by: str | None,
) -> None:
    """Change a group: all that is given, or nothing. Print the group.

    \b
    Examples:
      pushctl groups change 03DMV9EK31WTE= --announcement 'Tonight at eight.'
      pushctl groups change 03DMV9EK31WTE= --owner ben --by ada
    """
    given = (name, announcement, extra, mute_all, invite, owner)
    if all(value is None for value in given):
        raise click.UsageError("give what changes")
    value = _json_value("--extra", extra)
    with common.api() as api:
        changed = api.change_group(
            group,
            name=name,
            announcement=announcement,
            extra=value,
            mute_all=mute_all,
            invite=invite,
            owner=owner,
            by=by,
        )
    _print_group(common, changed)


@groups.command("dismiss")
@click.argument("group", metavar="GROUP")
@by_option
@yes_option
@common_options
@click.pass_obj
def dismiss(common: Common, group: str, by: str | None, yes: bool) -> None:
    """Dismiss a group, with its history. It asks first.

    \b
    Examples:
      pushctl groups dismiss 03DMV9EK31WTE=
      pushctl groups dismiss 03DMV9EK31WTE= --by ada --yes
    """
    ask_first(yes, f"This dismisses the group {group} and deletes its history.")
    common.change(lambda api: api.dismiss_group(group, by=by), f"{group}: dismissed")


# --- members -----------------------------------------------------------------------------------


@click.group("members")
@common_options
def members() -> None:
    """Members of a group: list, add, remove, role, mute.

    \b
    Examples:
      pushctl members list 03DMV9EK31WTE=
      pushctl members add 03DMV9EK31WTE= ben eve
    """


@members.command("list")
@click.argument("group", metavar="GROUP")
@common_options
@click.pass_obj
def list_members(common: Common, group: str) -> None:
    """List the members of a group, with their roles.

    \b
    Examples:
      pushctl members list 03DMV9EK31WTE=
      pushctl members list 03DMV9EK31WTE= --json | jq -r .user
    """
    with common.api() as api:
        headings = ("user", "role", "muted")
        common.print_list(api.each_member(group), headings, _member_cells, "no members")


def _member_cells(member: Member) -> tuple[str | None, ...]:
    return member.user, member.role, "yes" if member.muted else "no"


@members.command("add")
@click.argument("group", metavar="GROUP")
@click.argument("users", metavar="USER…", nargs=-1, required=True)
@by_option
@common_options
@click.pass_obj
def add(common: Common, group: str, users: tuple[str, ...], by: str | None) -> None:
    """Add users to a group; the exit status is 1 unless all were added.

    \b
    Examples:
      pushctl members add 03DMV9EK31WTE= ben eve
      pushctl members add 03DMV9EK31WTE= ben --by ada --json
    """
    with common.api() as api:
        answer = api.add_members(group, users, by=by)
    _print_results(common, answer.results, answer.silent)


@members.command("remove")
@click.argument("group", metavar="GROUP")
@click.argument("users", metavar="USER…", nargs=-1, required=True)
@by_option
@common_options
@click.pass_obj
def remove(common: Common, group: str, users: tuple[str, ...], by: str | None) -> None:
    """Remove users from a group; with --by themselves they leave it.

    \b
    Examples:
      pushctl members remove 03DMV9EK31WTE= ben eve
      pushctl members remove 03DMV9EK31WTE= ben --by ben
    """
    # All of them before the first is sent: with an invalid id no user is removed.
    calls = {user: remove_member(group, user, by=by) for user in users}
    silent: set[str] = set()
    with common.api() as api:
        results = {user: _removed(api, call, silent) for user, call in calls.items()}
    _print_results(common, results, silent)


def _removed(api: PushAPI, call: ApiCall[list[str]], silent: set[str]) -> str:
    """`ok` or the code of a refusal of this one user; other errors are raised.

    Nodes that did not confirm it are added to `silent`.
    """
    try:
        unconfirmed = api.send(call)
    except PushAPIError as error:
        if error.code in ("not_found", "not_allowed"):
            return error.code
        raise
    silent.update(unconfirmed)
    return "ok"


@members.command("role")
@click.argument("group", metavar="GROUP")
@click.argument("user", metavar="USER")
@click.argument("role", metavar="ROLE", type=click.Choice(["admin", "member"]))
@by_option
@common_options
@click.pass_obj
def role(common: Common, group: str, user: str, role: str, by: str | None) -> None:
    """Make USER an admin, or a member like the others.

    \b
    Examples:
      pushctl members role 03DMV9EK31WTE= ben admin
      pushctl members role 03DMV9EK31WTE= ben member --by ada
    """
    with common.api() as api:
        api.change_member(group, user, role=role, by=by)
    common.print_done(f"{user}: {role}")


@members.command("mute")
@click.argument("group", metavar="GROUP")
@click.argument("user", metavar="USER")
@click.option("--undo", is_flag=True, help="Let USER write again.")
@by_option
@common_options
@click.pass_obj
def mute(common: Common, group: str, user: str, undo: bool, by: str | None) -> None:
    """Mute USER, who can then read but not write; --undo lets them write again.

    \b
    Examples:
      pushctl members mute 03DMV9EK31WTE= ben
      pushctl members mute 03DMV9EK31WTE= ben --undo
    """
    with common.api() as api:
        api.change_member(group, user, muted=not undo, by=by)
    common.print_done(f"{user}: {'not muted' if undo else 'muted'}")


# --- printing ----------------------------------------------------------------------------------


def _print_group(common: Common, group: GroupInfo) -> None:
    rows = [(name, _shown(getattr(group, name))) for name in GROUP_FIELDS]
    rows.append(("extra", None if group.extra is None else output.one_line(group.extra)))
    common.print_one(group, [*rows, ("created", output.utc_time(group.ts or None))])
    common.fail_if_silent(group.silent)


def _shown(value: object) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or None


def _print_results(common: Common, results: dict[str, str], silent: Iterable[str]) -> None:
    if common.json:
        output.print_json({"results": results})
    else:
        output.print_table(("user", "result"), results.items(), "no users")
    failed = [user for user, result in results.items() if result != "ok"]
    if failed:
        unconfirmed = sorted(silent)
        more = f"; no answer from {', '.join(unconfirmed)}" if unconfirmed else ""
        text = f"{len(failed)} of {len(results)} failed{more}"
        raise Failure(text, "partial", failed=failed, silent=unconfirmed)
    common.fail_if_silent(silent)


def _json_value(option: str, text: str | None) -> object:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WrongValue(f"{option}: {json_problem(error, text.encode())}") from None
