"""The rules of the game: numbers, paytables, exact returns, room rules, settlement. Bets and rounds live elsewhere."""
