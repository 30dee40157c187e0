"""The public append-only log of every epoch, lock, result and void (docs/log.md)."""
