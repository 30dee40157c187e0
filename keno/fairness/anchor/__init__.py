"""Anchors of the public log on Ethereum (docs/anchor.md)."""
