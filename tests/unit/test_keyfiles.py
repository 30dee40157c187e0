"""Key files: made once on a laptop, never made up anywhere else."""

from pathlib import Path

import pytest

from keno.errors import ConfigError
from keno.infra.keyfiles import load_keys, make_key


def test_keys_are_made_once_and_then_read(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    made = load_keys(folder, create=True)
    assert made.privacy != made.platform
    assert load_keys(folder, create=True) == made
    assert load_keys(folder, create=False) == made
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


def test_a_missing_key_is_an_error_where_keys_are_not_to_be_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"privacy\.key"):
        load_keys(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(ConfigError, match=r"keys/privacy\.key cannot be made"):
        load_keys(tmp_path / "keys", create=True)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33])
def test_a_file_that_holds_no_key_is_an_error_and_stays_as_it_is(tmp_path: Path, text: str) -> None:
    load_keys(tmp_path, create=True)
    (tmp_path / "privacy.key").write_text(text)
    with pytest.raises(ConfigError, match=r"privacy\.key"):
        load_keys(tmp_path, create=True)
    assert (tmp_path / "privacy.key").read_text() == text


def test_of_processes_that_make_a_key_at_once_all_read_the_same(tmp_path: Path) -> None:
    assert make_key(tmp_path / "vault.key")
    first = (tmp_path / "vault.key").read_text()
    assert not make_key(tmp_path / "vault.key")
    assert (tmp_path / "vault.key").read_text() == first
    assert [path.name for path in tmp_path.iterdir()] == ["vault.key"]
