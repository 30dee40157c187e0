"""Keno: a provably fair keno game server for the operators of online casinos."""
