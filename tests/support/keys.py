"""Bodies of requests to add a key."""

from __future__ import annotations

from typing import Any, Final

NOT_KEYS: Final[list[tuple[int, str, dict[str, Any]]]] = [
    (422, "invalid_request", {"key_id": "a:b", "algorithm": "hmac-sha256"}),
    (422, "invalid_request", {"key_id": "", "algorithm": "hmac-sha256"}),
    (422, "invalid_request", {"key_id": "a", "algorithm": "rsa"}),
    (422, "invalid_request", {"key_id": "a", "algorithm": "ed25519"}),
    (422, "invalid_request", {"key_id": "a", "algorithm": "ed25519", "public_key": "ab"}),
    (422, "invalid_request", {"key_id": "a", "algorithm": "hmac-sha256", "public_key": "ab" * 32}),
    (422, "public_key_invalid", {"key_id": "a", "algorithm": "ed25519", "public_key": "02" + 31 * "00"}),
    (422, "public_key_invalid", {"key_id": "a", "algorithm": "ed25519", "public_key": "01" + 31 * "00"}),
    (422, "missing_field", {"key_id": "a"}),
    (422, "unknown_field", {"key_id": "a", "algorithm": "hmac-sha256", "secret": "00"}),
]
"""What is no key, with the status and the code that it is refused with."""
