"""`pushctl topics`, `subscribe` and `unsubscribe`: topics, and the devices that follow them."""

from __future__ import annotations

import click

from push.pushctl.options import Common, common_options, print_json, read_credentials


@click.command("topics")
@click.argument("name", metavar="TOPIC", required=False)
@common_options
@click.pass_obj
def topics(common: Common, name: str | None) -> None:
    """List the topics that devices follow, with their number; or only TOPIC.

    \b
    Examples:
      pushctl topics
      pushctl topics news
      pushctl topics --json | jq .devices
    """
    with common.api() as api:
        for found in api.each_topic() if name is None else [api.topic(name)]:
            if common.json:
                print_json(found)
            else:
                click.echo(f"{found.topic}  {found.devices}")


@click.command("subscribe")
@click.argument("topic", metavar="TOPIC")
@click.argument("token", required=False)
@click.option("--credentials", metavar="FILE", help="The device that `register` wrote to FILE.")
@common_options
@click.pass_obj
def subscribe(common: Common, topic: str, token: str | None, credentials: str | None) -> None:
    """Let the device TOKEN follow TOPIC; one that is connected does so at once.

    \b
    Examples:
      pushctl subscribe news 01J…
      pushctl subscribe news --credentials me.json
    """
    with common.api() as api:
        api.subscribe(topic, _token(token, credentials))


@click.command("unsubscribe")
@click.argument("topic", metavar="TOPIC")
@click.argument("token", required=False)
@click.option("--credentials", metavar="FILE", help="The device that `register` wrote to FILE.")
@common_options
@click.pass_obj
def unsubscribe(common: Common, topic: str, token: str | None, credentials: str | None) -> None:
    """Let the device TOKEN follow TOPIC no more; what waited for it is dropped.

    \b
    Examples:
      pushctl unsubscribe news 01J…
      pushctl unsubscribe news --credentials me.json
    """
    with common.api() as api:
        api.unsubscribe(topic, _token(token, credentials))


def _token(token: str | None, credentials: str | None) -> str:
    if token is not None and credentials is None:
        return token
    if credentials is not None and token is None:
        return read_credentials(credentials).token
    raise click.UsageError("give exactly one of TOKEN and --credentials")
