"""`pushctl topics`, `subscribe` and `unsubscribe`: topics, and the devices that follow them."""

from __future__ import annotations

import click

from push.pushctl.terminal.credentials import device_argument, device_token
from push.pushctl.terminal.options import Common, common_options


@click.command("topics")
@click.argument("name", metavar="TOPIC", required=False)
@common_options
@click.pass_obj
def topics(common: Common, name: str | None) -> None:
    """List the topics that devices follow, with the number of devices; or only TOPIC.

    \b
    Examples:
      pushctl topics
      pushctl topics news
      pushctl topics --json | jq .devices
    """
    with common.api() as api:
        common.print_list(
            api.each_topic() if name is None else [api.topic(name)],
            ("topic", "devices"),
            lambda found: (found.topic, str(found.devices)),
            "no topics",
        )


@click.command("subscribe")
@click.argument("topic", metavar="TOPIC")
@device_argument
@common_options
@click.pass_obj
def subscribe(common: Common, topic: str, token: str | None, credentials: str | None) -> None:
    """Let the device TOKEN follow TOPIC; one that is connected does so at once.

    \b
    Examples:
      pushctl subscribe news 01J…
      pushctl subscribe news --credentials me.json
    """
    device = device_token(token, credentials)
    common.change(lambda api: api.subscribe(topic, device), f"{device}: follows {topic}")


@click.command("unsubscribe")
@click.argument("topic", metavar="TOPIC")
@device_argument
@common_options
@click.pass_obj
def unsubscribe(common: Common, topic: str, token: str | None, credentials: str | None) -> None:
    """Let the device TOKEN no longer follow TOPIC; what waited for it is dropped.

    \b
    Examples:
      pushctl unsubscribe news 01J…
      pushctl unsubscribe news --credentials me.json
    """
    device = device_token(token, credentials)
    done = f"{device}: does not follow {topic} any more"
    common.change(lambda api: api.unsubscribe(topic, device), done)
