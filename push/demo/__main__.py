"""`python -m push.demo`: what `make demo` runs."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys

from push.demo.launcher import DEFAULT_PORT, Launcher, LauncherError
from push.wire.addresses import MAX_PORT


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to {MAX_PORT}")
    return int(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="push.demo",
        description="Two connectors, the HTTP API and a Redis with one page that shows what they "
        "do. Ctrl-C ends everything; nothing is kept.",
    )
    parser.add_argument(
        "--port",
        type=_port,
        help=f"where the page is (default: {DEFAULT_PORT}, or a free one if that is taken)",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not try to open the page")
    arguments = parser.parse_args()
    # A start that Ctrl-C cancels ends its children at once, and asyncio warns when it then finds
    # that one has been waited for already. Errors of asyncio are still told.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    launcher = Launcher(arguments.port, opens_browser=not arguments.no_browser)
    try:
        asyncio.run(launcher.run())
    except LauncherError as error:
        sys.exit(f"push.demo: {error}")


if __name__ == "__main__":
    main()
