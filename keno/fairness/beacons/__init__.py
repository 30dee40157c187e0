"""Fetching and keeping beacons, for all rooms at once, and the local beacon."""
