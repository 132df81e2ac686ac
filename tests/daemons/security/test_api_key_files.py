"""API keys: those of the configuration, or else the files that a first start makes."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from push.access.api_keys import make_key
from push.daemons.config.errors import StartError
from push.daemons.config.settings import ApiKeySetting
from push.daemons.config.value_types import Sha256
from push.daemons.security.api_key_files import ApiKeys, key_file
from push.wire.api.operate.keys import ALL_SCOPES

CONFIGURED_KEY = "a configured key"
CONFIGURED = ApiKeySetting(
    name="backend",
    sha256=Sha256(hashlib.sha256(CONFIGURED_KEY.encode()).hexdigest()),
    scopes=("push",),
)


class Keys(ApiKeys):
    """The keys of a daemon whose clock is ours."""

    def __init__(self, folder: Path, configured: Sequence[ApiKeySetting] = ()) -> None:
        self.clock = Clock()
        self.folder = folder
        super().__init__(self.clock, configured, folder)
        self.startService()

    def text_of(self, name: str) -> str:
        return key_file(self.folder, name).read_text().strip()

    def owner_of(self, key: str) -> str | None:
        found = self.keyring.authenticate(key)
        return found.name if found else None

    def a_second_later(self) -> None:
        self.clock.pump([0.25] * 4)


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    keys = Keys(tmp_path)
    yield keys
    keys.stopService()


def test_a_first_start_makes_two_keys_that_only_their_owner_reads(tmp_path: Path) -> None:
    data = tmp_path / "data"
    keys = Keys(data)
    for name, scopes in (("admin", ALL_SCOPES), ("app", ("register",))):
        text = keys.text_of(name)
        key = keys.keyring.authenticate(text)
        assert key is not None
        assert (key.name, key.scopes) == (name, frozenset(scopes))
        assert text.startswith("pk_")
        assert len(text) >= 43
        assert stat.S_IMODE(key_file(data, name).stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert sorted(path.name for path in data.iterdir()) == ["admin.key", "app.key"]
    assert set(keys.files) == {"admin", "app"}


def test_later_starts_keep_them(keys: Keys) -> None:
    text = keys.text_of("admin")
    again = Keys(keys.folder)
    assert again.text_of("admin") == text
    assert again.owner_of(text) == "admin"


def test_with_configured_keys_none_are_made(tmp_path: Path) -> None:
    keys = Keys(tmp_path, [CONFIGURED])
    assert list(tmp_path.iterdir()) == []
    assert keys.owner_of(CONFIGURED_KEY) == "backend"
    assert keys.files == {}


def test_files_beside_configured_keys_are_ignored_and_named_once(
    keys: Keys, log_lines: list[str]
) -> None:
    admin, app = keys.text_of("admin"), keys.text_of("app")
    later = Keys(keys.folder, [CONFIGURED])
    assert [later.owner_of(key) for key in (admin, app)] == [None, None]
    assert later.files == {}
    key_file(keys.folder, "app").write_text(make_key())
    later.a_second_later()
    for name in ("admin.key", "app.key"):
        (line,) = [line for line in log_lines if "is ignored" in line and name in line]
        assert "[auth] keys" in line


def test_a_deleted_file_stops_counting_within_a_second_and_counts_again_when_it_is_back(
    keys: Keys,
) -> None:
    path, text = key_file(keys.folder, "admin"), keys.text_of("admin")
    path.unlink()
    keys.a_second_later()
    assert keys.owner_of(text) is None
    assert keys.owner_of(keys.text_of("app")) == "app"
    assert set(keys.files) == {"app"}
    assert not path.exists()
    path.write_text(text)
    keys.a_second_later()
    assert keys.owner_of(text) == "admin"


def test_a_changed_file_counts_and_its_old_key_does_not(keys: Keys) -> None:
    old, new = keys.text_of("app"), make_key()
    key_file(keys.folder, "app").write_text(new + "\n")
    keys.a_second_later()
    assert (keys.owner_of(new), keys.owner_of(old)) == ("app", None)


def test_a_file_that_holds_no_key_any_more_is_not_valid_and_says_so(
    keys: Keys, log_lines: list[str]
) -> None:
    old = keys.text_of("admin")
    key_file(keys.folder, "admin").write_text("")
    keys.a_second_later()
    assert keys.owner_of(old) is None
    assert len([line for line in log_lines if "holds no key" in line]) == 1


def test_a_public_key_copied_over_the_admins_gets_no_scope_by_it(
    keys: Keys, log_lines: list[str]
) -> None:
    app = keys.text_of("app")
    key_file(keys.folder, "app").write_text(keys.text_of("admin"))
    keys.a_second_later()
    assert keys.owner_of(app) is None
    assert [line for line in log_lines if "the keys admin and app are the same" in line]


def test_a_reload_can_configure_keys_and_take_them_back(keys: Keys) -> None:
    admin = keys.text_of("admin")
    keys.configure([CONFIGURED])
    assert (keys.owner_of(admin), keys.owner_of(CONFIGURED_KEY)) == (None, "backend")
    keys.configure([])
    assert (keys.owner_of(admin), keys.owner_of(CONFIGURED_KEY)) == ("admin", None)


def test_a_reload_of_bad_keys_changes_nothing(keys: Keys) -> None:
    admin = keys.text_of("admin")
    twin = ApiKeySetting(name="twin", sha256=CONFIGURED.sha256, scopes=("admin",))
    with pytest.raises(StartError, match="the keys backend and twin are the same"):
        keys.configure([CONFIGURED, twin])
    keys.a_second_later()
    assert (keys.owner_of(admin), keys.owner_of(CONFIGURED_KEY)) == ("admin", None)


def test_daemons_that_start_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda _: Keys(tmp_path), range(8)))
    text = started[0].text_of("admin")
    assert all(keys.owner_of(text) == "admin" for keys in started)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_file_without_a_key_is_a_start_error(tmp_path: Path) -> None:
    key_file(tmp_path, "admin").write_text("\n")
    with pytest.raises(StartError, match=r"admin.key holds no key: delete it"):
        Keys(tmp_path)


def test_a_file_that_others_may_read_is_warned_of(keys: Keys, log_lines: list[str]) -> None:
    key_file(keys.folder, "app").chmod(0o644)
    keys.a_second_later()
    assert [line for line in log_lines if "app.key can be read by others" in line]


def test_a_folder_that_cannot_be_made_is_a_start_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"server.data: cannot make .*file/data: Not a directory"):
        Keys(tmp_path / "file" / "data")
