"""Epoch keys on their way in and out of the vault's memory: wrapped at rest, opened for use, overwritten afterwards.

Not here: where the wrapping keys come from (`keno.infra.key_providers`), and what an epoch key is used for.
"""

from collections import OrderedDict

from keno.fairness.keno1 import EpochKey
from keno.infra.key_providers import KeyProvider
from keno.infra.keywrap import wiped


class EpochKeys:
    """Wraps epoch keys, and keeps the `opened_max` last used ones open, so that a release waits for no provider."""

    def __init__(self, provider: KeyProvider, opened_max: int = 1_024) -> None:
        self._provider = provider
        self._opened_max = opened_max
        self._opened: OrderedDict[tuple[int, bytes], EpochKey] = OrderedDict()

    @property
    def key_id(self) -> str:
        """The id of the key that `wrapped` wraps under."""
        return self._provider.key_id

    async def wrapped(self, epoch_id: int, key: EpochKey) -> bytes:
        """An epoch's key as it is kept at rest. It opens for this epoch only."""
        with wiped(key.copy()) as secret:
            return await self._provider.wrap(secret, _context(epoch_id))

    async def opened(self, epoch_id: int, wrapped_key: bytes) -> EpochKey:
        """An epoch's key, from what is kept of it. Raises UnwrapError."""
        name = (epoch_id, wrapped_key)
        if name not in self._opened:
            with wiped(await self._provider.unwrap(wrapped_key, _context(epoch_id))) as secret:
                self._opened[name] = EpochKey(secret)
            if len(self._opened) > self._opened_max:
                self._opened.popitem(last=False)
        self._opened.move_to_end(name)
        return self._opened[name]

    def forget(self, epoch_id: int) -> None:
        """Overwrites an epoch's key in memory."""
        for name in [each for each in self._opened if each[0] == epoch_id]:
            del self._opened[name]


def _context(epoch_id: int) -> bytes:
    return b"keno:epoch-key:%d" % epoch_id
