"""The API keys that a first start makes, beside those of the configuration."""

from __future__ import annotations

import hashlib
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from push.daemons.config.errors import StartError
from push.daemons.config.settings import ALL_SCOPES, ApiKey
from push.daemons.config.value_types import Sha256
from push.daemons.security.api_key_files import key_file, load_keys

CONFIGURED = ApiKey(name="backend", sha256=Sha256("ab" * 32), scopes=("push",))


def test_a_first_start_makes_two_keys_that_only_their_owner_reads(tmp_path: Path) -> None:
    data = tmp_path / "data"
    admin, app = load_keys([], data)
    assert (admin.name, admin.scopes) == ("admin", ALL_SCOPES)
    assert (app.name, app.scopes) == ("app", ("register",))
    for key in (admin, app):
        path = key_file(data, key.name)
        text = path.read_text().strip()
        assert text.startswith("pk_")
        assert len(text) >= 43
        assert key.sha256 == hashlib.sha256(text.encode()).hexdigest()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert sorted(path.name for path in data.iterdir()) == ["admin.key", "app.key"]


def test_later_starts_keep_them(tmp_path: Path) -> None:
    assert load_keys([], tmp_path) == load_keys([], tmp_path)


def test_with_configured_keys_none_are_made(tmp_path: Path) -> None:
    assert load_keys([CONFIGURED], tmp_path) == [CONFIGURED]
    assert list(tmp_path.iterdir()) == []


def test_key_files_stay_valid_beside_configured_keys_until_they_are_deleted(
    tmp_path: Path,
) -> None:
    made = load_keys([], tmp_path)
    assert load_keys([CONFIGURED], tmp_path) == [CONFIGURED, *made]
    key_file(tmp_path, "admin").unlink()
    assert load_keys([CONFIGURED], tmp_path) == [CONFIGURED, made[1]]


def test_a_configured_key_takes_the_place_of_a_file_of_its_name(tmp_path: Path) -> None:
    load_keys([], tmp_path)
    admin = ApiKey(name="admin", sha256=CONFIGURED.sha256, scopes=("read",))
    assert [key.name for key in load_keys([admin], tmp_path)] == ["admin", "app"]
    assert load_keys([admin], tmp_path)[0] is admin


def test_daemons_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: load_keys([], tmp_path), range(8)))
    assert all(keys == results[0] for keys in results)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_without_a_key_is_a_start_error(tmp_path: Path) -> None:
    key_file(tmp_path, "admin").write_text("\n")
    with pytest.raises(StartError, match=r"admin.key holds no key: delete it"):
        load_keys([], tmp_path)


def test_a_file_that_others_may_read_is_warned_of(tmp_path: Path, log_lines: list[str]) -> None:
    load_keys([], tmp_path)
    key_file(tmp_path, "app").chmod(0o644)
    load_keys([], tmp_path)
    assert [line for line in log_lines if "app.key can be read by others" in line]


def test_a_folder_that_cannot_be_made_is_a_start_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"server.data: cannot make .*file/data: Not a directory"):
        load_keys([], tmp_path / "file" / "data")
