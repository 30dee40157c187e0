"""The providers of the keys that wrap epoch keys: what opens with which key, and how a key is changed."""

from pathlib import Path

import pytest

from keno.errors import ConfigError
from keno.fairness.epoch_keys import EpochKeys
from keno.fairness.keno1 import EpochKey
from keno.infra import keywrap
from keno.infra.key_providers import LocalKeys, fingerprint, key_id_of, renew_file, with_key_id
from keno.infra.keywrap import UnwrapError

FIRST, SECOND = bytes(range(32)), bytes(range(32, 64))
SECRET = bytes(range(64, 96))
CONTEXT = b"epoch 7"


async def test_a_secret_is_wrapped_under_the_current_key_and_says_which_that_is() -> None:
    keys = LocalKeys(FIRST, [SECOND])
    wrapped = await keys.wrap(bytearray(SECRET), CONTEXT)
    assert key_id_of(wrapped) == keys.key_id == fingerprint(FIRST)
    assert await keys.unwrap(wrapped, CONTEXT) == SECRET
    assert SECRET not in wrapped
    assert await keys.wrap(bytearray(SECRET), CONTEXT) != wrapped, "each wrapping has a nonce of its own"


async def test_what_an_older_key_wrapped_opens_for_as_long_as_that_key_is_kept() -> None:
    wrapped = await LocalKeys(FIRST).wrap(bytearray(SECRET), CONTEXT)
    assert await LocalKeys(SECOND, [FIRST]).unwrap(wrapped, CONTEXT) == SECRET
    with pytest.raises(UnwrapError, match=f"under the key {fingerprint(FIRST)}; there are {fingerprint(SECOND)}"):
        await LocalKeys(SECOND).unwrap(wrapped, CONTEXT)


async def test_what_was_wrapped_before_keys_had_ids_still_opens() -> None:
    nameless = keywrap.wrap(FIRST, SECRET, CONTEXT)
    assert key_id_of(nameless) is None
    assert await LocalKeys(SECOND, [FIRST]).unwrap(nameless, CONTEXT) == SECRET
    with pytest.raises(UnwrapError):
        await LocalKeys(SECOND).unwrap(nameless, CONTEXT)


async def test_another_context_changed_bytes_and_another_id_do_not_open() -> None:
    keys = LocalKeys(FIRST, [SECOND])
    wrapped = await keys.wrap(bytearray(SECRET), CONTEXT)
    with pytest.raises(UnwrapError):
        await keys.unwrap(wrapped, b"epoch 8")
    for at in range(len(wrapped)):
        changed = wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :]
        with pytest.raises(UnwrapError):
            await keys.unwrap(changed, CONTEXT)
    box = wrapped[1 + len(keys.key_id) :]
    with pytest.raises(UnwrapError):
        await keys.unwrap(with_key_id(fingerprint(SECOND), box), CONTEXT)
    for cut in range(len(wrapped)):
        with pytest.raises(UnwrapError):
            await keys.unwrap(wrapped[:cut], CONTEXT)


async def test_closed_keys_are_zeros() -> None:
    keys = LocalKeys(FIRST, [SECOND])
    wrapped = await keys.wrap(bytearray(SECRET), CONTEXT)
    keys.close()
    with pytest.raises(UnwrapError):
        await keys.unwrap(wrapped, CONTEXT)


def test_a_secret_is_overwritten_at_the_end_of_its_block_whatever_happens() -> None:
    secret = bytearray(SECRET)

    def fail_with(given: bytearray) -> None:
        assert given == SECRET
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"), keywrap.wiped(secret) as given:
        fail_with(given)
    assert secret == bytes(32)


async def test_files_and_the_environment_give_the_same_keys(tmp_path: Path) -> None:
    (tmp_path / "vault.key").write_text(FIRST.hex() + "\n")
    (tmp_path / "vault-of-before.key").write_text(SECOND.hex())
    from_files = LocalKeys.from_files(tmp_path, create=False)
    from_texts = LocalKeys.from_texts(FIRST.hex(), f"{SECOND.hex()},")
    assert from_files.key_id == from_texts.key_id == fingerprint(FIRST)
    for keys in (from_files, from_texts):
        assert await keys.unwrap(await LocalKeys(SECOND).wrap(bytearray(SECRET), CONTEXT), CONTEXT) == SECRET


def modes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}


async def test_a_new_key_file_wraps_from_then_on_and_the_old_one_is_kept(tmp_path: Path) -> None:
    before = LocalKeys.from_files(tmp_path, create=True)
    wrapped = await before.wrap(bytearray(SECRET), CONTEXT)
    new_id, old_id = renew_file(tmp_path)
    after = LocalKeys.from_files(tmp_path, create=False)
    assert (old_id, new_id) == (before.key_id, after.key_id)
    assert old_id != new_id
    assert await after.unwrap(wrapped, CONTEXT) == SECRET
    assert modes(tmp_path) == {f"vault-{old_id}.key": 0o600, "vault.key": 0o600}


def test_no_new_key_is_made_where_the_one_in_use_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vault\.key"):
        renew_file(tmp_path)
    (tmp_path / "vault.key").write_text("00")
    with pytest.raises(ConfigError, match=r"vault\.key"):
        renew_file(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["vault.key"]


@pytest.mark.parametrize(
    ("current", "older", "named"),
    [("zz" * 32, "", "KENO_VAULT_KEY"), ("00" * 31, "", "KENO_VAULT_KEY"), (FIRST.hex(), "zz", "KENO_VAULT_OLD_KEYS")],
)
def test_what_is_no_key_is_an_error_that_says_where_and_not_what(current: str, older: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as refused:
        LocalKeys.from_texts(current, older)
    assert "zz" not in str(refused.value)


async def test_the_memory_of_open_keys_is_bounded_and_let_go_with_their_publication() -> None:
    keys = EpochKeys(LocalKeys(FIRST), open_max=2)
    wrapped = {n: await keys.wrapped(n, EpochKey.draw()) for n in range(3)}
    assert keys.used(0) is None
    for n in range(2):
        await keys.keep_open(n, wrapped[n])
    first = keys.used(0)
    assert first is not None
    assert first.reveal() == (await keys.opened(0, wrapped[0])).reveal()
    await keys.keep_open(2, wrapped[2])
    # The one that was used longest ago had to go.
    assert keys.used(1) is None
    assert keys.used(0) is first
    keys.forget(0)
    assert keys.used(0) is None
