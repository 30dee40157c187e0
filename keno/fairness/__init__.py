"""Commitments, locks, draws and the evidence for them: the keno1 protocol (docs/fairness.md)."""
