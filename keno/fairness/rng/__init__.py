"""The certification kit: what a test laboratory asks of the random numbers. It takes no part in any round."""

DRAWS_MIN = 100_000
"""With fewer draws than this some cells expect too few for the chi-square distribution to hold."""
