"""Where the keys come from that wrap epoch keys: a protocol, and keys that are kept in files or in the environment.

A wrapped secret begins with the id of the key it was wrapped under, so that keys can be changed: new secrets are
wrapped under the current key, and those under older ones open for as long as these are kept. Not here: what is wrapped,
and when it is wrapped anew; that is the vault's.

A key management service takes its place as a third provider: `wrap` and `unwrap` are its encrypt and decrypt calls with
the context as encryption context, `key_id` is its name and version of the key, and `keno.bootstrap` chooses it by the
configuration. Its failures must be KenoError, or transient as `keno.infra.transient` says. There is none yet.
"""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from keno.errors import ConfigError
from keno.infra import keywrap
from keno.infra.keyfiles import load_key, make_key, parse_key, sync_folder
from keno.infra.keywrap import UnwrapError

CURRENT_FILE = "vault.key"
_OLD_FILES = "vault-*.key"
_ID_BYTES = 8
_ID_BYTES_MAX = 255
# Without an id: how secrets were wrapped before keys had ids. Nonce, 32 bytes and tag.
_NAMELESS_BYTES = 60


class KeyProvider(Protocol):
    """Wraps secrets of 32 bytes at rest."""

    @property
    def key_id(self) -> str:
        """What names the current key: 1 to 255 ASCII characters that tell nothing of it."""

    async def wrap(self, secret: bytearray, context: bytes) -> bytes:
        """Wraps a secret under the current key, whose id stands in front (`with_key_id`)."""

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytearray:
        """Opens what `wrap` made under the current key or an older one; the caller wipes it. Raises UnwrapError for
        another context, changed bytes, and an id it does not know.
        """

    def close(self) -> None:
        """Forgets its keys."""


class LocalKeys:
    """A provider whose keys are in this process: one that wraps, and older ones that still open. 32 bytes each."""

    def __init__(self, current: bytes, older: Sequence[bytes] = ()) -> None:
        self._current_id = fingerprint(current)
        self._keys = {fingerprint(key): bytearray(key) for key in (current, *older)}

    @classmethod
    def from_files(cls, folder: Path, *, create: bool) -> "LocalKeys":
        """vault.key, which `create` makes if it is missing, and the older vault-*.key. Raises ConfigError."""
        current = load_key(folder / CURRENT_FILE, create=create)
        return cls(current, [load_key(path, create=False) for path in sorted(folder.glob(_OLD_FILES))])

    @classmethod
    def from_texts(cls, current: str, older: str) -> "LocalKeys":
        """From the values of KENO_VAULT_KEY and KENO_VAULT_OLD_KEYS. Raises ConfigError."""
        texts = [text for text in older.split(",") if text.strip()]
        return cls(parse_key(current, "KENO_VAULT_KEY"), [parse_key(text, "KENO_VAULT_OLD_KEYS") for text in texts])

    @property
    def key_id(self) -> str:
        """The fingerprint of the current key."""
        return self._current_id

    async def wrap(self, secret: bytearray, context: bytes) -> bytes:
        """As KeyProvider says: AES-256-GCM, which covers the id too."""
        head = with_key_id(self._current_id, b"")
        return head + keywrap.wrap(self._keys[self._current_id], secret, head + context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> bytearray:
        """As KeyProvider says."""
        key_id = key_id_of(wrapped)
        if key_id is None:
            return self._unwrap_nameless(wrapped, context)
        if key_id not in self._keys:
            raise UnwrapError(f"wrapped under the key {key_id}; there are {', '.join(self._keys)}")
        head = with_key_id(key_id, b"")
        return keywrap.unwrap_wipeable(self._keys[key_id], wrapped[len(head) :], head + context)

    def close(self) -> None:
        """Overwrites the keys."""
        for key in self._keys.values():
            key[:] = bytes(len(key))

    def _unwrap_nameless(self, wrapped: bytes, context: bytes) -> bytearray:
        failure = UnwrapError("there is no key")
        for key in self._keys.values():
            try:
                return keywrap.unwrap_wipeable(key, wrapped, context)
            except UnwrapError as error:
                failure = error
        raise failure


def fingerprint(key: bytes) -> str:
    """The id of a key that is kept locally: the first 8 bytes, in hex, of a hash of it."""
    return sha256(b"keno:key-id" + key).digest()[:_ID_BYTES].hex()


def with_key_id(key_id: str, box: bytes) -> bytes:
    """What was wrapped, with the id of the key in front: u8 length, ASCII, box."""
    encoded = key_id.encode("ascii")
    assert 1 <= len(encoded) <= _ID_BYTES_MAX, "as the protocol says"  # noqa: S101
    return bytes([len(encoded)]) + encoded + box


def key_id_of(wrapped: bytes) -> str | None:
    """The id of the key that a secret was wrapped under; None for one of before there were ids. Raises UnwrapError."""
    if len(wrapped) == _NAMELESS_BYTES:
        return None
    encoded = wrapped[1 : 1 + wrapped[0]] if wrapped else b""
    if not encoded or len(encoded) < wrapped[0] or not encoded.isascii():
        raise UnwrapError("wrapped secret does not begin with the id of a key")
    return encoded.decode("ascii")


def renew_file(folder: Path) -> tuple[str, str]:
    """Makes a new vault.key; the one there becomes vault-ID.key. Returns the new id and the old one.

    At every moment there is a vault.key, and every key that was ever used is in some file. Raises ConfigError.
    """
    current = folder / CURRENT_FILE
    old_id = fingerprint(load_key(current, create=False))
    kept = folder / f"vault-{old_id}.key"
    if not kept.exists():
        kept.hardlink_to(current)
    fresh = folder / f"{CURRENT_FILE}.next"
    fresh.unlink(missing_ok=True)
    if not make_key(fresh):
        raise ConfigError(f"{fresh}: somebody else is making a key")
    new_id = fingerprint(load_key(fresh, create=False))
    fresh.replace(current)
    sync_folder(folder)
    return new_id, old_id
