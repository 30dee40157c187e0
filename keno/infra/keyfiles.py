"""The secret keys of the platform in files: 32 bytes in hex each, readable by their owner only.

A file is never overwritten. In production the files come from a secret store; only a laptop makes its own. Not here:
the keys of the vault, which only its process may read (`keno.infra.key_providers`).
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from keno.errors import ConfigError

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """`privacy` salts bet leaves, `platform` wraps operators' HMAC secrets. 32 bytes each."""

    privacy: bytes
    platform: bytes


def load_keys(folder: Path, *, create: bool) -> Keys:
    """Reads privacy.key and platform.key; with `create` makes those that are missing. Raises ConfigError."""
    return Keys(*(load_key(folder / f"{name}.key", create=create) for name in ("privacy", "platform")))


def load_key(path: Path, *, create: bool) -> bytes:
    """Reads one key of 32 bytes; with `create` makes it if it is missing. Raises ConfigError."""
    if create and not path.exists():
        make_key(path)
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a key in hex ({error})") from None
    return parse_key(text, str(path))


def parse_key(text: str, where: str) -> bytes:
    """A key of 32 bytes from hex. Raises ConfigError, which says `where` and nothing of the text."""
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        raise ConfigError(f"{where}: is not a key in hex") from None
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"{where}: a key has {_KEY_BYTES} bytes, not {len(key)}")
    return key


def make_key(path: Path) -> bool:
    """Writes a new key to a file, whole or not at all; false where there is a file already, which stays.

    Raises ConfigError where its folder cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"the folder of {path} cannot be made: {error.strerror}") from None
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(fresh)  # unlike a rename it fails where another process was quicker
    except FileExistsError:
        return False
    finally:
        fresh.unlink()
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Makes what was linked, renamed and removed in a folder last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
