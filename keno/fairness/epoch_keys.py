"""Epoch keys on their way in and out of the vault's memory: wrapped at rest, opened for use, overwritten afterwards.

Not here: where the wrapping keys come from (`keno.infra.key_providers`), and what an epoch key is used for.
"""

from collections import OrderedDict

from keno.fairness.keno1 import EpochKey
from keno.infra.key_providers import KeyProvider
from keno.infra.keywrap import wiped


class EpochKeys:
    """Wraps epoch keys, and keeps the `open_max` last used ones open, so that a release waits for no provider."""

    def __init__(self, provider: KeyProvider, open_max: int = 1_024) -> None:
        self._provider = provider
        self._open_max = open_max
        self._open: OrderedDict[int, EpochKey] = OrderedDict()

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
        with wiped(await self._provider.unwrap(wrapped_key, _context(epoch_id))) as secret:
            return EpochKey(secret)

    async def keep_open(self, epoch_id: int, wrapped_key: bytes) -> EpochKey:
        """Opens an epoch's key and keeps it for `used`; that which was used longest ago is overwritten where they are
        too many. Raises UnwrapError.
        """
        key = self._open[epoch_id] = await self.opened(epoch_id, wrapped_key)
        if len(self._open) > self._open_max:
            self._open.popitem(last=False)
        return key

    def used(self, epoch_id: int) -> EpochKey | None:
        """An epoch's key, where it is kept open."""
        if epoch_id in self._open:
            self._open.move_to_end(epoch_id)
        return self._open.get(epoch_id)

    def forget(self, epoch_id: int) -> None:
        """Overwrites an epoch's key in memory."""
        self._open.pop(epoch_id, None)


def _context(epoch_id: int) -> bytes:
    return b"keno:epoch-key:%d" % epoch_id
