"""`pushctl`: one clear line on stderr when something is wrong, never a traceback.

Exit status: 0 done, 1 it failed, 2 wrong usage, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from push import __version__
from push.pushctl import bans, clients, ledger, nodes, reshard, topics
from push.pushctl.listen import Listening, listen
from push.pushctl.options import (
    INTERRUPTED,
    Common,
    Failure,
    StoredCredentials,
    common_options,
    explain,
    print_json,
    read_credentials,
    write_credentials,
)
from push.sdk.aio import PushClient
from push.sdk.errors import PushError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pushctl")
@common_options
def cli() -> None:
    """Talk to a push server: register a device, listen as one, push, and see what became of it.

    \b
    A first tour, beside a local `twistd push`:
      pushctl register --credentials me.json
      pushctl listen --credentials me.json
      pushctl push --all '{"hello": "world"}'
    """


@cli.command("register")
@click.option("--platform", default="cli", show_default=True, help="What the device runs on.")
@click.option("--app", default="pushctl", show_default=True, help="Which app it is.")
@click.option("--device", metavar="NAME", help="A name for people; it finds nothing.")
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
    if common.json:
        print_json(pair)
        return
    click.echo(f"token   {pair.token}")
    click.echo(f"secret  {pair.secret}")
    if credentials is not None:
        click.echo(f"saved in {credentials}", err=True)


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


@cli.command("listen")
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
def listen_command(
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
        asyncio.run(listen(Listening(options, common.json, ack, count, timeout)))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # the way it is meant to end: not even an empty line
    except TimeoutError:
        raise Failure(f"not done after {timeout:g} s") from None


def _device(
    credentials: str | None, token: str | None, secret: str | None, jwt: str | None
) -> StoredCredentials | None:
    """Who to be; None: only the user of the JWT."""
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


@cli.command("push")
@click.argument("data", required=False)
@click.option("--to-token", multiple=True, metavar="TOKEN", help="A device; may be repeated.")
@click.option("--to-user", multiple=True, metavar="USER", help="A user; may be repeated.")
@click.option("--to-topic", "--topic", metavar="TOPIC", help="All that follow a topic.")
@click.option("--all", "to_all", is_flag=True, help="Everyone.")
@click.option("--ttl", type=int, metavar="SECONDS", help="Keep it so long; 0: only who is online.")
@click.option("--qos", type=click.IntRange(0, 1), help="0: at most once; 1 (default): at least.")
@click.option("--collapse", metavar="NAME", help="Replace what has this name and still waits.")
@click.option("--title", help="Title of a notification.")
@click.option("--body", help="Text of a notification.")
@click.option(
    "--idempotency-key",
    metavar="KEY",
    help="Pushed again with KEY within 24 h, it stays one message. [default: a random one]",
)
@click.option("--text", is_flag=True, help="DATA is text, also when it looks like JSON.")
@common_options
@click.pass_obj
def push(
    common: Common,
    data: str | None,
    to_token: tuple[str, ...],
    to_user: tuple[str, ...],
    to_topic: str | None,
    to_all: bool,
    ttl: int | None,
    qos: int | None,
    collapse: str | None,
    title: str | None,
    body: str | None,
    idempotency_key: str | None,
    text: bool,
) -> None:
    """Push DATA to devices, users, a topic or everyone.

    DATA is JSON, or text when it is not; @FILE reads a file, - reads standard input, as does no
    DATA without --title and --body. What is not UTF-8 is sent as base64.

    \b
    Examples:
      pushctl push --all '{"news": 1}'
      pushctl push --to-token 01J… --title Hello --body 'How are you?' '{}'
      pushctl push --to-user ada --to-user bob --ttl 600 @message.json
      pushctl push --to-topic news '{"text": "It rains"}'
      pushctl push --all --collapse score '{"score": "2:1"}'
      pushctl push --to-user ada --idempotency-key order-17 '{"order": 17}'
      date | pushctl push --to-user ada --text
    """
    to = _target(to_token, to_user, to_topic, to_all)
    value, encoding = _read_data(data, text, optional=title is not None or body is not None)
    with common.api() as api:
        result = api.push(
            to=to,
            data=value,
            encoding=encoding,
            ttl=ttl,
            qos=qos,
            collapse=collapse,
            title=title,
            body=body,
            idempotency_key=idempotency_key,
        )
    if common.json:
        print_json(result)
        return
    click.echo(f"{result.id}: streams {result.streams}, online {result.online}")
    for token in result.unknown:
        click.echo(f"pushctl: unknown token {token}", err=True)


def _target(
    tokens: Sequence[str], users: Sequence[str], topic: str | None, everyone: bool
) -> dict[str, Any]:
    if sum((bool(tokens), bool(users), topic is not None, everyone)) != 1:
        raise click.UsageError("give exactly one of --to-token, --to-user, --to-topic and --all")
    if everyone:
        return {"all": True}
    if topic is not None:
        return {"topic": topic}
    one, many, values = ("token", "tokens", tokens) if tokens else ("user", "users", users)
    return {one: values[0]} if len(values) == 1 else {many: list(values)}


def _read_data(data: str | None, text: bool, *, optional: bool) -> tuple[Any, str | None]:
    """The value to push and its encoding. Without DATA a notification needs no input."""
    if data is None and optional:
        return None, None
    if data is None and sys.stdin.isatty():
        raise click.UsageError("DATA is missing: give it, @FILE, or - for standard input")
    if data is None or data == "-":
        raw = sys.stdin.buffer.read()
    elif data.startswith("@"):
        try:
            raw = Path(data[1:]).read_bytes()
        except OSError as error:
            raise Failure(f"{data[1:]}: {explain(error)}") from None
    else:
        raw = data.encode("utf-8", "surrogateescape")
    if not text:
        try:
            return msgspec.json.decode(raw), None
        except (msgspec.DecodeError, ValueError, RecursionError):
            pass
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode(), "base64"


@cli.command("stats")
@common_options
@click.pass_obj
def stats(common: Common) -> None:
    """Print the server's numbers.

    \b
    Examples:
      pushctl stats
      pushctl stats --json | jq .
    """
    with common.api() as api:
        numbers = api.stats()
    if common.json:
        print_json(numbers)
        return
    rows = list(_flatten(numbers))
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        click.echo(f"{name:<{width}}  {value}")


def _flatten(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested JSON as rows `a.b value`; objects in a list are numbered from 0."""
    inner: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        inner = [(str(number), item) for number, item in enumerate(value)]
    for key, item in inner:
        yield from _flatten(item, f"{name}.{key}" if name else key)
    if not inner:
        yield name, value if isinstance(value, str) else msgspec.json.encode(value).decode()


cli.add_command(ledger.message)
cli.add_command(ledger.cancel)
cli.add_command(nodes.drain)
cli.add_command(nodes.nodes)
cli.add_command(clients.connections)
cli.add_command(clients.kick)
cli.add_command(clients.user)
cli.add_command(bans.ban)
cli.add_command(bans.unban)
cli.add_command(bans.bans)
cli.add_command(topics.topics)
cli.add_command(topics.subscribe)
cli.add_command(topics.unsubscribe)
cli.add_command(reshard.reshard)


def _check_options(arguments: list[str]) -> None:
    """Options are text. Only a message's data may be any bytes."""
    before = ""
    for argument in arguments:
        if argument.startswith("-") or before.startswith("--"):
            try:
                argument.encode()
            except UnicodeEncodeError:
                raise click.UsageError(f"an option is not UTF-8: {before} {argument!r}") from None
        before = argument


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script: exits with the status, see above."""
    try:
        _check_options(list(arguments) if arguments is not None else sys.argv[1:])
        cli.main(
            list(arguments) if arguments is not None else None,
            prog_name="pushctl",
            standalone_mode=False,
            obj=Common(),
        )
    except (KeyboardInterrupt, click.Abort):
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PushError as error:
        Failure(" ".join(str(error).split())).show()
        sys.exit(1)
    except BrokenPipeError:
        # Whoever read our output has gone: nobody is left to tell. Do not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
