"""Bets: what a caller may ask for, how a batch of them is accepted, and how a drawn round's are settled."""
