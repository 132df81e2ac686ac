"""The commands and the program of docs/protocol.md that make a secret and a JWT, as written."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.running import Running, started_server
from push.sdk.aio import PushClient

ROOT = Path(__file__).parents[2]
SECTION = (
    (ROOT / "docs" / "protocol.md").read_text("utf-8").split("\n### JWT\n")[1].split("\n### ")[0]
)
MAKE_SECRET, MINT = re.findall(r"^```sh\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```", SECTION, re.DOTALL | re.MULTILINE)


def shell(folder: Path, command: str) -> str:
    run = ["bash", "-eo", "pipefail", "-c", command]
    return subprocess.run(
        run, cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def mint_by_shell(folder: Path, secret: bytes, user: str) -> str:
    """A JWT of `user`, by the commands of the page."""
    (folder / "jwt.secret").write_bytes(secret)
    assert MINT.count(" anna ") == 1
    return shell(folder, MINT.replace(" anna ", f" {user} "))


@pytest.fixture(scope="module")
def secret_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secret")
    shell(folder, MAKE_SECRET)
    assert (folder / "jwt.secret").stat().st_mode & 0o777 == 0o600
    return folder


def test_both_make_a_jwt_that_the_server_accepts(secret_folder: Path) -> None:
    by_shell = mint_by_shell(secret_folder, (secret_folder / "jwt.secret").read_bytes(), "anna")
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=secret_folder,
        capture_output=True,
        text=True,
        check=True,
    )
    by_python = ran.stdout.strip()
    with started_server(auth_jwt_key_file=str(secret_folder / "jwt.secret")) as running:
        assert asyncio.run(user_of(running, by_shell)) == "anna"
        assert asyncio.run(user_of(running, by_python, topic="private.board")) == "anna"


async def user_of(running: Running, jwt: str, topic: str | None = None) -> str | None:
    where = f"tls://127.0.0.1:{running.tls_address[1]}"
    ca_file = str(running.data_dir / "server.crt")
    async with PushClient(where, ca_file=ca_file, jwt=jwt) as client:
        if topic is not None:
            await client.subscribe(topic)
        return (await client.wait_connected()).user
