"""The secret keys of the platform in files: 32 bytes in hex each, readable by their owner only.

A file is never overwritten. In production the files come from a secret store; only a laptop makes its own.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from keno.errors import ConfigError

_KEY_BYTES = 32


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """`vault` wraps epoch keys, `privacy` salts bet leaves, `platform` wraps operators' HMAC secrets. 32 bytes each."""

    vault: bytes
    privacy: bytes
    platform: bytes


def load_keys(folder: Path, *, create: bool) -> Keys:
    """Reads vault.key, privacy.key and platform.key; with `create` makes those that are missing. Raises ConfigError."""
    if create:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Keys(*(load_key(folder / f"{name}.key", create=create) for name in ("vault", "privacy", "platform")))


def load_key(path: Path, *, create: bool) -> bytes:
    """Reads one key of 32 bytes; with `create` makes it if it is missing. Raises ConfigError."""
    if create and not path.exists():
        _create(path)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as a key in hex ({error})") from None
    if len(key) != _KEY_BYTES:
        raise ConfigError(f"{path}: a key has {_KEY_BYTES} bytes, not {len(key)}")
    return key


def _create(path: Path) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
