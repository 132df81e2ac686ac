"""`pushctl register` and `listen`: a device in the terminal."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from push.pushctl.terminal.credentials import StoredCredentials, read_credentials, write_credentials
from push.pushctl.terminal.errors import INTERRUPTED, Failure
from push.pushctl.terminal.listening import Listening
from push.pushctl.terminal.listening import listen as run_listener
from push.pushctl.terminal.options import Common, common_options
from push.sdk.aio import PushClient


@click.command("register")
@click.option("--platform", default="cli", show_default=True, help="What the device runs on.")
@click.option("--app", default="pushctl", show_default=True, help="Which app it is.")
@click.option("--device", metavar="NAME", help="A name for people; nothing is found by it.")
@click.option("--credentials", metavar="FILE", help="Write token and secret to FILE, mode 0600.")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@common_options
@click.pass_obj
def register(
    common: Common,
    platform: str,
    app: str,
    device: str | None,
    credentials: str | None,
    force: bool,
) -> None:
    """Register a new device and print its token and secret.

    Over HTTP (POST /v1/devices), or over the device protocol when --server is given. The secret is
    told only now: with --credentials it is kept in a file for `listen`.

    \b
    Examples:
      pushctl register
      pushctl register --credentials me.json
      pushctl register --server tls://push.example:6790 --key "$(cat app.key)" --json
    """
    if credentials is not None and Path(credentials).exists() and not force:
        raise Failure(f"--credentials {credentials}: exists already; --force replaces it")
    if common.servers:
        pair = asyncio.run(_register_device(common, platform, app, device))
    else:
        with common.api("app.key", "admin.key") as api:
            made = api.register_device(platform, app, device)
        pair = StoredCredentials(made.token, made.secret, made.servers)
    if credentials is not None:
        write_credentials(credentials, pair, force=force)
    common.print_one(pair, [("token", pair.token), ("secret", pair.secret)])
    if credentials is not None:
        common.notice(f"saved in {credentials}", file=credentials)


async def _register_device(
    common: Common, platform: str, app: str, device: str | None
) -> StoredCredentials:
    servers = common.servers
    client = PushClient(
        servers,
        key=common.key("app.key", "admin.key") or "",
        platform=platform,
        app=app,
        device=device,
        ca_file=common.ca_file,
        fingerprint=common.fingerprint(servers),
    )
    pair = await client.register()
    return StoredCredentials(pair.token, pair.secret, servers)


@click.command("listen")
@click.option("--credentials", metavar="FILE", help="Token and secret, as `register` wrote them.")
@click.option("--token", help="The device's token.")
@click.option("--secret", envvar="PUSH_SECRET", help="The device's secret. [env PUSH_SECRET]")
@click.option("--jwt", envvar="PUSH_JWT", help="A user's JWT, alone or beside a token.")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N messages.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Fail when it has not ended after this time.",
)
@click.option(
    "--ack/--no-ack", default=True, show_default=True, help="Acknowledge what was printed."
)
@click.option("--heartbeat", type=click.IntRange(min=1), metavar="SECONDS", help="Ask for it.")
@common_options
@click.pass_obj
def listen(
    common: Common,
    credentials: str | None,
    token: str | None,
    secret: str | None,
    jwt: str | None,
    count: int | None,
    timeout: float | None,
    ack: bool,
    heartbeat: int | None,
) -> None:
    """Be a device in the terminal: print messages as they come, until Ctrl-C.

    A message is acknowledged after it was printed; with --no-ack it comes again next time. When
    the server no longer has messages that were not read, a line on standard error says so.

    \b
    Examples:
      pushctl listen --credentials me.json
      pushctl listen --credentials me.json --json --count 1 | jq .data
      pushctl listen --token 01J… --secret … --server tls://push.example:6790
      pushctl listen --jwt "$JWT" --server tls://push.example:6790 --ca-file ca.pem
    """
    stored = _device(credentials, token, secret, jwt)
    servers = common.device_servers(stored.servers if stored else [])
    options: dict[str, Any] = {
        "servers": servers,
        "token": stored.token if stored else None,
        "secret": stored.secret if stored else None,
        "jwt": jwt,
        "ca_file": common.ca_file,
        "fingerprint": common.fingerprint(servers),
        "heartbeat": heartbeat,
        "platform": "cli",
        "app": "pushctl",
    }
    try:
        asyncio.run(run_listener(Listening(options, common, ack, count, timeout)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # the way it is meant to end: not even an empty line
    except TimeoutError:
        raise Failure(f"not done after {timeout:g} s", "timeout") from None


def _device(
    credentials: str | None, token: str | None, secret: str | None, jwt: str | None
) -> StoredCredentials | None:
    """The device to be; None: only the user of the JWT."""
    if credentials is not None:
        if token is not None:
            raise click.UsageError("--credentials and --token exclude each other")
        return read_credentials(credentials)
    if token is not None and secret is not None:
        return StoredCredentials(token, secret)
    if token is not None:
        raise click.UsageError("--token needs --secret")
    if jwt is None:
        raise click.UsageError("give --credentials FILE, or --token and --secret, or --jwt")
    return None
