"""The certification kit: what a test laboratory asks of the random numbers. It takes no part in any round."""
