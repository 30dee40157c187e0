"""Rooms and their rounds: the schedule, the phases, the scheduler that moves them and the settler that ends them."""
