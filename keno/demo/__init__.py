"""`keno demo`: an operator, a room and simulated players on the real servers, with every round verified before your
eyes.

Nothing in it is simulated but the players' taste in numbers: they sign HTTP requests as an operator's engineers would.
"""
