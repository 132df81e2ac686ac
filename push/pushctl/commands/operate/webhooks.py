"""`pushctl webhooks`: endpoints of others, to which events are sent."""

from __future__ import annotations

import click
import msgspec
from msgspec import UNSET

from push.pushctl.terminal import output
from push.pushctl.terminal.asking import ask_first, yes_option
from push.pushctl.terminal.options import Common, common_options
from push.pushctl.terminal.periods import Period, ms_before_now
from push.pushctl.terminal.private_files import check_new, write_private
from push.sdk.backend import Webhook, WebhookAttempt
from push.wire.api.operate.webhooks import WEBHOOK_TYPES

save_option = click.option(
    "--save", metavar="FILE", help="Write the secret to FILE, mode 0600, and do not print it."
)
type_option = click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(WEBHOOK_TYPES),
    help="An event that it gets; may be repeated.",
)


@click.group("webhooks")
@common_options
def webhooks() -> None:
    """Webhooks: add, list and change endpoints; see attempts, send again, test.

    \b
    Examples:
      pushctl webhooks add https://hooks.example/push --type device.online --type device.offline
      pushctl webhooks list
      pushctl webhooks attempts 070M43WVYVW001
    """


@webhooks.command("add")
@click.argument("to", metavar="URL")  # "url" is the shared option
@type_option
@click.option("--description", default="", help="For people.")
@click.option("--disabled", is_flag=True, help="Send nothing until it is enabled.")
@save_option
@common_options
@click.pass_obj
def add(
    common: Common,
    to: str,
    types: tuple[str, ...],
    description: str,
    disabled: bool,
    save: str | None,
) -> None:
    """Send events to URL, which is https:// and public. Its secret is told only now.

    \b
    Examples:
      pushctl webhooks add https://hooks.example/push --type message.dropped --save hook.secret
      pushctl webhooks add https://hooks.example/chat --type chat.message --json | jq -r .secret
    """
    if not types:
        raise click.UsageError(f"give --type once or more: {', '.join(WEBHOOK_TYPES)}")
    check_new(save, "--save ")
    with common.api() as api:
        made = api.create_webhook(to, types, enabled=not disabled, description=description)
    _print_with_secret(common, made, made.secret, save)


@webhooks.command("list")
@common_options
@click.pass_obj
def list_webhooks(common: Common) -> None:
    """List the endpoints: their state, and how many events wait for each and were lost.

    \b
    Examples:
      pushctl webhooks list
      pushctl webhooks list --json | jq 'select(.state != "ok") | .url'
    """
    headings = ("id", "state", "waiting", "lost", "failing since", "source", "url")
    with common.api() as api:
        common.print_list(api.each_webhook(), headings, _cells, "no webhooks")


def _cells(found: Webhook) -> tuple[str | None, ...]:
    return (
        found.id,
        found.state,
        str(found.waiting),
        str(found.lost),
        output.utc_time(found.failing_since),
        found.source,
        found.url,
    )


@webhooks.command("show")
@click.argument("id", metavar="ID")
@common_options
@click.pass_obj
def show(common: Common, id: str) -> None:
    """Show the endpoint ID.

    \b
    Examples:
      pushctl webhooks show 070M43WVYVW001
    """
    with common.api() as api:
        found = api.webhook(id)
    common.print_one(found, _rows(found))


def _rows(found: Webhook) -> list[tuple[str, str | None]]:
    return [
        ("id", found.id),
        ("url", found.url),
        ("description", found.description or None),
        ("types", ", ".join(found.types)),
        ("enabled", "yes" if found.enabled else "no"),
        ("state", found.state),
        ("disabled because", found.disabled_reason),
        ("failing since", output.utc_time(found.failing_since)),
        ("waiting", str(found.waiting)),
        ("lost", str(found.lost)),
        ("source", found.source),
        ("created", output.utc_time(found.created)),
    ]


@webhooks.command("change")
@click.argument("id", metavar="ID")
@click.option("--to", metavar="URL", help="Where events go from now on.")
@type_option
@click.option("--description", help="For people.")
@click.option("--enable/--disable", "enabled", default=None, help="Send events, or do not.")
@click.option("--rotate", is_flag=True, help="A new secret; the old one signs for 24 h more.")
@save_option
@common_options
@click.pass_obj
def change(
    common: Common,
    id: str,
    to: str | None,
    types: tuple[str, ...],
    description: str | None,
    enabled: bool | None,
    rotate: bool,
    save: str | None,
) -> None:
    """Change what is given of the endpoint ID. --enable also tries one again that was disabled
    after failures.

    \b
    Examples:
      pushctl webhooks change 070M43WVYVW001 --enable
      pushctl webhooks change 070M43WVYVW001 --rotate --save hook.secret
    """
    given = (to, types or None, description, enabled, rotate or None)
    if all(each is None for each in given):
        raise click.UsageError("give what is to be changed")
    if save is not None and not rotate:
        raise click.UsageError("--save is for the secret of --rotate")
    check_new(save, "--save ")
    with common.api() as api:
        found = api.change_webhook(
            id,
            url=to,
            types=types or None,
            enabled=enabled,
            description=description,
            rotate=rotate,
        )
    _print_with_secret(common, found, found.secret or "", save)


def _print_with_secret(common: Common, found: Webhook, secret: str, save: str | None) -> None:
    fields = {**msgspec.to_builtins(found)}
    fields.pop("secret", None)
    rows = _rows(found)
    if secret and save is not None:
        write_private(save, f"{secret}\n", "--save ", force=False)
        fields["file"] = save
        rows.append(("secret", f"saved in {save}"))
    elif secret:
        fields["secret"] = secret
        rows.append(("secret", secret))
    common.print_one(fields, rows)


@webhooks.command("remove")
@click.argument("id", metavar="ID")
@yes_option
@common_options
@click.pass_obj
def remove(common: Common, id: str, yes: bool) -> None:
    """Delete the endpoint ID, and what waits for it.

    \b
    Examples:
      pushctl webhooks remove 070M43WVYVW001
      pushctl webhooks remove 070M43WVYVW001 --yes
    """
    ask_first(yes, f"This deletes the webhook {id}, and the events that wait for it.")
    with common.api() as api:
        api.delete_webhook(id)
    common.print_done(f"{id}: deleted")


@webhooks.command("attempts")
@click.argument("id", metavar="ID")
@click.option("--failed", is_flag=True, help="Only those that failed.")
@common_options
@click.pass_obj
def attempts(common: Common, id: str, failed: bool) -> None:
    """List what became of the attempts of the last 7 days to send events to ID, the newest first.

    \b
    Examples:
      pushctl webhooks attempts 070M43WVYVW001
      pushctl webhooks attempts 070M43WVYVW001 --failed --json | jq .error
    """
    headings = ("time", "type", "event", "answer", "ms", "next")
    with common.api() as api:
        found = api.each_webhook_attempt(id)
        wanted = (each for each in found if not (failed and _is_good(each)))
        common.print_list(wanted, headings, _attempt_cells, "no attempts")


def _is_good(attempt: WebhookAttempt) -> bool:
    return isinstance(attempt.status, int) and 200 <= attempt.status < 300


def _attempt_cells(attempt: WebhookAttempt) -> tuple[str | None, ...]:
    answer = attempt.error if attempt.status is UNSET else attempt.status
    return (
        output.utc_time(attempt.ts),
        attempt.type,
        attempt.event,
        None if answer is UNSET else str(answer),
        str(attempt.ms),
        output.utc_time(attempt.next),
    )


@webhooks.command("replay")
@click.argument("id", metavar="ID")
@click.option("--since", type=Period(), metavar="PERIOD", help="Events of the last PERIOD, as 6h.")
@click.option("--until", type=Period(), metavar="PERIOD", help="Not those of the last PERIOD.")
@click.option("--type", "kind", type=click.Choice(WEBHOOK_TYPES), help="Only events of this type.")
@click.option("--failed", is_flag=True, help="Only those that were tried and did not arrive.")
@common_options
@click.pass_obj
def replay(
    common: Common,
    id: str,
    since: int | None,
    until: int | None,
    kind: str | None,
    failed: bool,
) -> None:
    """Send events to ID again: all that are kept, or those that are chosen.

    \b
    Examples:
      pushctl webhooks replay 070M43WVYVW001 --failed
      pushctl webhooks replay 070M43WVYVW001 --since 6h --type chat.message
    """
    with common.api() as api:
        done = api.replay_webhook(
            id,
            since=ms_before_now(since),
            until=ms_before_now(until),
            type=kind,
            only_failed=failed,
        )
    common.print_done(f"{id}: {output.counted(done.events, 'event')} to be sent again", done)


@webhooks.command("test")
@click.argument("id", metavar="ID")
@common_options
@click.pass_obj
def test(common: Common, id: str) -> None:
    """Send a test event to ID, of the type webhook.test; `attempts` shows what became of it.

    \b
    Examples:
      pushctl webhooks test 070M43WVYVW001
    """
    with common.api() as api:
        sent = api.test_webhook(id)
    common.print_done(f"{id}: {sent.event} is sent", sent)
